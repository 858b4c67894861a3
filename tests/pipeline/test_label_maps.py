"""Faces in label maps, which are copied without change: photos with few gray levels."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import skimage.data
from click.testing import CliRunner

import curate
from curate import Recipe, Session
from curate.cli.main import group
from curate.core.errors import DataError
from curate.core.geometry import Box
from curate.layouts import open_source
from curate.layouts.label_maps import find_drawing, render_label_map, shows_faces, voc_palette
from curate.pipeline import label_maps
from curate.pipeline.label_maps import FACE_DRAWN, FACE_FOUND
from curate.pipeline.verify import iter_problems
from tests.layouts.examples.example import indexed_png, rgb_png, write

FAST = Recipe(profile="fast")
CLASSES = [f"class {number}" for number in range(20)]
Pixels = np.ndarray[Any, Any]
COCO = "annotations/panoptic_val2017/{}.png"


def posterize(levels: int, blur: int = 9) -> Pixels:
    """A face in a few levels without details, 1 to ``levels``."""
    gray = cv2.cvtColor(skimage.data.astronaut()[:300, 80:380], cv2.COLOR_RGB2GRAY)
    gray = cv2.resize(gray, (60, 60), interpolation=cv2.INTER_AREA)
    large = cv2.resize(gray, (480, 480), interpolation=cv2.INTER_CUBIC)
    values = (large.astype(int) * levels // 256).astype(np.uint8)
    _, ranks = np.unique(cv2.medianBlur(values, blur), return_inverse=True)
    return ranks.reshape(values.shape).astype(np.uint8) + 1


def draw_shapes() -> Pixels:
    """Labels of three shapes."""
    values = np.zeros((480, 480), np.uint8)
    cv2.circle(values, (150, 200), 90, 1, -1)
    cv2.rectangle(values, (260, 60), (420, 300), 2, -1)
    cv2.ellipse(values, (240, 400), (200, 50), 10, 0, 360, 3, -1)
    return values


def write_coco(root: Path, maps: dict[str, Pixels], step: int) -> None:
    images, annotations = [], []
    for number, (name, values) in enumerate(maps.items(), start=1):
        write(root, f"val2017/{name}.png", rgb_png(np.full((480, 480, 3), 90, np.uint8)))
        labels = values.astype(int) * step
        pixels = np.stack([labels & 255, labels >> 8 & 255, labels >> 16], axis=2)
        write(root, COCO.format(name), rgb_png(pixels.astype(np.uint8)))
        ids, counts = np.unique(labels[labels > 0], return_counts=True)
        segments = [
            {"id": int(i), "category_id": 1, "iscrowd": 0, "bbox": [0, 0, 9, 9], "area": int(count)}
            for i, count in zip(ids, counts, strict=True)
        ]
        size = {"width": 480, "height": 480}
        images.append({"id": number, "file_name": f"{name}.png", **size})
        line = {"image_id": number, "file_name": f"{name}.png", "segments_info": segments}
        annotations.append(line)
    categories = [{"id": 1, "name": "thing", "isthing": 1}]
    value = {"images": images, "annotations": annotations, "categories": categories}
    write(root, "annotations/panoptic_val2017.json", json.dumps(value))


def write_voc(root: Path, maps: dict[str, Pixels]) -> None:
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>480</xmax><ymax>480</ymax></bndbox>"
    objects = "".join(f"<object><name>{name}</name>{box}</object>" for name in CLASSES)
    size = "<size><width>480</width><height>480</height><depth>3</depth></size>"
    for name, values in maps.items():
        write(root, f"JPEGImages/{name}.png", rgb_png(np.full((480, 480, 3), 90, np.uint8)))
        text = f"<annotation><filename>{name}.png</filename>{size}{objects}</annotation>"
        write(root, f"Annotations/{name}.xml", text)
        for folder in ("SegmentationClass", "SegmentationObject"):
            write(root, f"{folder}/{name}.png", indexed_png(values, voc_palette()))
    write(root, "ImageSets/Main/train.txt", "".join(f"{name}\n" for name in maps))


def lines_of(out: Path) -> dict[str, Any]:
    text = (out / "manifest/others.jsonl").read_text().splitlines()
    return {line["path"]: line for line in map(json.loads, text)}


def check_left_out(
    source: Path, out: Path, faces: list[str], shapes: list[str], reason_part: str | None = None
) -> None:
    lines = lines_of(out)
    for path in faces:
        reason = lines[path].pop("reason")
        assert lines[path] == {"path": path, "carried": False, "withheld": True}
        assert reason == FACE_FOUND if reason_part is None else reason_part in reason
        assert not (out / "data" / path).exists()
    for path in shapes:
        assert (out / "data" / path).read_bytes() == (source / path).read_bytes()
    assert list(iter_problems(out, source, 1)) == []


@pytest.mark.parametrize("levels", [4, 12])
@pytest.mark.parametrize("step", [0x010101 * 12, 1, 0x001203])
def test_a_posterized_face_in_a_panoptic_map_is_left_out(
    levels: int, step: int, tmp_path: Path
) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    write_coco(source, {"a": posterize(levels), "b": draw_shapes()}, step)
    proven = {str(other.path) for other in open_source(str(source)).sidecars()}
    assert {COCO.format("a"), COCO.format("b")} <= proven
    curate.blur(source, out, FAST, Session(workers=1))
    reason = "its regions are too small" if levels > 4 else None
    check_left_out(source, out, [COCO.format("a")], [COCO.format("b")], reason)


@pytest.fixture
def voc_source(tmp_path: Path) -> Path:
    write_voc(tmp_path / "voc", {"a": posterize(4), "b": draw_shapes()})
    return tmp_path / "voc"


FACES = ["SegmentationClass/a.png", "SegmentationObject/a.png"]
SHAPES = ["SegmentationClass/b.png", "SegmentationObject/b.png"]


def test_a_posterized_face_in_a_segmentation_is_left_out_by_every_kind_of_run(
    voc_source: Path, tmp_path: Path
) -> None:
    assert {*FACES, *SHAPES} <= {str(o.path) for o in open_source(str(voc_source)).sidecars()}
    whole = tmp_path / "whole"
    curate.blur(voc_source, whole, FAST, Session(workers=1))
    check_left_out(voc_source, whole, FACES, SHAPES)

    shards = tmp_path / "shards"
    curate.blur_shards(voc_source, shards, "1/1", FAST, Session(workers=1))
    curate.blur(voc_source, shards, FAST, Session(workers=1, finish=True))
    check_left_out(voc_source, shards, FACES, SHAPES)

    replayed = tmp_path / "replayed"
    assert curate.replay(voc_source, whole, replayed).records_identical
    assert lines_of(replayed) == lines_of(whole)

    given, table = tmp_path / "given", tmp_path / "faces.parquet"
    faces = [{"xyxy": [5.0, 5.0, 90.0, 90.0]}]
    rows: list[dict[str, Any]] = [{"id": f"JPEGImages/{name}.png", "faces": faces} for name in "ab"]
    pq.write_table(pa.Table.from_pylist(rows), table)
    curate.blur(voc_source, given, FAST, Session(workers=1, faces=table))
    check_left_out(voc_source, given, FACES, SHAPES)
    rows[0]["faces"] = [{"xyxy": [50.0, 50.0, 90.0, 90.0]}]
    pq.write_table(pa.Table.from_pylist(rows), table)
    curate.blur(voc_source, given, FAST, Session(workers=1, faces=table, update=True))
    check_left_out(voc_source, given, FACES, SHAPES)


def test_an_interrupted_search_goes_on_and_does_not_trust_changed_files(
    voc_source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[str] = []
    search = label_maps._search

    def note(source: Any, record: Any, detector: Any) -> tuple[str, str]:
        searched.append(record.id)
        return search(source, record, detector)

    monkeypatch.setattr(label_maps, "_search", note)
    monkeypatch.setattr(label_maps, "_SHARD_SIZE", 2)
    opened = open_source(str(voc_source))
    job = label_maps.MapJob(str(voc_source), "voc", False, tmp_path)
    work = job.open()
    label_maps._list_maps(opened, tmp_path)
    first, second = label_maps._iter_shards(tmp_path)
    work(first, lambda *_: None)
    assert searched == [record.id for record in first.records]
    assert label_maps._load(opened, first, tmp_path) is not None
    assert label_maps._load(opened, second, tmp_path) is None
    path = voc_source / first.records[0].uri
    os.utime(path, ns=(1, 1))
    assert label_maps._load(open_source(str(voc_source)), first, tmp_path) is None


def test_a_map_that_was_not_searched_is_not_copied() -> None:
    found = label_maps.SearchedMaps()
    found.add("a", "1" * 64, "")
    found.add("b", "2" * 64, FACE_FOUND)
    found.add("c", "", "worker: the process died twice")
    found.check("a", "1" * 64)
    cases = {("a", "3"): "changed", ("b", "2"): "face", ("c", "1"): "died", ("d", "1"): "changed"}
    for (path, digit), reason in cases.items():
        with pytest.raises(DataError, match=reason):
            found.check(path, digit * 64)


def paste(levels: int, size: int, x: int = 20, y: int = 300) -> Pixels:
    """A map of shapes with a face of some levels, of some pixels, whose labels have no order."""
    gray = cv2.cvtColor(skimage.data.astronaut()[20:180, 140:300], cv2.COLOR_RGB2GRAY)
    gray = cv2.resize(gray, (size, size), interpolation=cv2.INTER_AREA)
    inner = np.quantile(gray, np.linspace(0, 1, levels + 1)[1:-1])
    face = cv2.medianBlur(np.digitize(gray, inner).astype(np.uint8), 3)
    labels = np.random.default_rng(levels).permutation(levels) + 4
    values = draw_shapes()
    values[y : y + size, x : x + size] = labels[face]
    return values


@pytest.mark.parametrize("levels", [6, 8, 16])
@pytest.mark.parametrize("size", [24, 48, 96, 160])
def test_a_small_face_in_a_region_is_a_drawing_whatever_the_order_of_its_labels(
    levels: int, size: int
) -> None:
    data = indexed_png(paste(levels, size), voc_palette())
    assert find_drawing(data) is not None


def test_a_face_of_few_levels_at_any_edge_is_a_drawing() -> None:
    for x, y in ((0, 0), (480 - 32, 0), (0, 480 - 32), (480 - 32, 480 - 32)):
        assert find_drawing(indexed_png(paste(8, 32, x, y), voc_palette())) is not None


def test_shapes_and_crowds_are_no_drawings() -> None:
    crowd = np.zeros((480, 640), np.uint8)
    random = np.random.default_rng(3)
    for number in range(1, 250):
        center = (int(random.integers(640)), int(random.integers(480)))
        axes = (int(random.integers(3, 12)), int(random.integers(4, 20)))
        cv2.ellipse(crowd, center, axes, int(random.integers(180)), 0, 360, number, -1)
    shelf = np.zeros((100, 640), np.uint8)
    for number, left in enumerate(range(10, 630, 5), start=1):
        shelf[30 + number % 7 : 70, left : left + 5] = number
    outlined = draw_shapes()
    outlined[cv2.morphologyEx(outlined, cv2.MORPH_GRADIENT, np.ones((5, 5))) > 0] = 255
    for values in (draw_shapes(), crowd, shelf, outlined, np.zeros((5, 5), np.uint8)):
        assert find_drawing(indexed_png(values, voc_palette())) is None


@pytest.mark.parametrize("seed", [1, 2])
def test_gray_levels_are_found_again_whatever_the_order_of_labels(seed: int) -> None:
    levels = posterize(9) - 1
    count = int(levels.max()) + 1
    labels = np.random.default_rng(seed).permutation(count)
    view = render_label_map(indexed_png(labels[levels], voc_palette()))[2][..., 0].astype(int)
    expected = (levels.astype(int) * 255) // (count - 1)
    correlation = np.corrcoef(view.ravel(), expected.ravel())[0, 1]
    assert abs(correlation) > 0.8


def test_withheld_maps_are_told_by_every_command_that_tells_withheld_images(tmp_path: Path) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    write_voc(source, {"a": paste(6, 32), "b": draw_shapes()})
    for name in ("SegmentationObject/a.png", "SegmentationObject/b.png"):
        (source / name).unlink()
    faces = tmp_path / "faces.parquet"
    rows = [{"id": f"JPEGImages/{name}.png", "faces": []} for name in "ab"]
    pq.write_table(pa.Table.from_pylist(rows), faces)
    args = ["blur", str(source), str(out), "--faces", str(faces), "--workers", "1"]
    for _ in range(2):  # the second time, it was finished before
        done = CliRunner().invoke(group, args)
        assert done.exit_code == 3, done.output
        assert "withheld 1: label maps that may show a face" in done.output
    done = CliRunner().invoke(group, [*args, "--shards", "1/2"])
    assert done.exit_code == 3, done.output
    assert "nothing was done. Withheld label maps: 1.\n" in done.output
    shown = CliRunner().invoke(group, ["manifest", "show", str(out), "--withheld"])
    assert shown.output.startswith("SegmentationClass/a.png: its regions are too small")
    assert shown.output.count("\n") == 1
    assert curate.load_manifest(out).run["others"]["withheld"] == 1
    assert list(iter_problems(out, source, 1)) == []
    lines = (out / "manifest/others.jsonl").read_text()
    (out / "manifest/others.jsonl").write_text(lines.replace(', "withheld": true', ""))
    assert any("others.withheld" in each.detail for each in iter_problems(out, None, 1))


def test_labels_are_ranked_as_gray_levels() -> None:
    values = np.tile(np.array([0, 7, 3, 15], np.uint8), (40, 12))
    colors, gray, _ = render_label_map(indexed_png(values, voc_palette()))
    assert np.array_equal(colors, voc_palette()[values])
    assert gray[0, :4, 0].tolist() == [0, 170, 85, 255]
    pixels = np.zeros((40, 48, 3), np.uint8)
    pixels[:, 9:, 1] = 4  # green counts more than red
    pixels[:, 20:, 0] = 200
    pixels[:, 20:, 1] = 0
    colors, gray, _ = render_label_map(rgb_png(pixels))
    assert np.array_equal(colors, pixels)
    assert (gray[0, 0, 0], gray[0, 10, 0], gray[0, 30, 0]) == (0, 255, 127)


def test_the_number_of_searched_maps_is_told_and_workers_are_those_of_the_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_maps, "_SHARD_SIZE", 2)
    monkeypatch.setattr("curate.pipeline.session.count_cores", lambda: 1)
    monkeypatch.setattr("curate.pipeline.session.gpu_memory", lambda: pytest.fail("of the GPU"))
    source, told = tmp_path / "source", list[str]()
    write_coco(source, {f"{n:02d}": draw_shapes() for n in range(19)}, 1)
    workspace = SimpleNamespace(root=tmp_path / "work", state=tmp_path / "work/state")
    workspace.root.mkdir()
    session = Session(notify=told.append)
    recipe = SimpleNamespace(device="cuda")
    run = SimpleNamespace(
        source=open_source(str(source)), recipe=recipe, session=session, workspace=workspace
    )
    label_maps.search_label_maps(run)  # type: ignore[arg-type]
    assert told == ["Searching 19 label maps for faces.", "Searched 19 label maps."]


def photograph() -> Pixels:
    """A person of 480×480 pixels whose face is about 130 pixels high."""
    return cv2.resize(skimage.data.astronaut()[:360, 40:400], (480, 480))


def draw_levels(levels: int, seed: int = 0) -> Pixels:
    """The photograph in a few smooth levels, in labels without order; 1 to ``levels``."""
    gray = cv2.GaussianBlur(cv2.cvtColor(photograph(), cv2.COLOR_RGB2GRAY), (0, 0), 5)
    cuts = np.quantile(gray, np.linspace(0, 1, levels + 1)[1:-1])
    values = cv2.medianBlur(np.digitize(gray, cuts).astype(np.uint8), 9)
    return np.random.default_rng(seed).permutation(levels).astype(np.uint8)[values] + np.uint8(1)


def draw_person() -> Pixels:
    """The labels of the person, of what is before the chin, and of the background."""
    values = np.zeros((480, 480), np.uint8)
    cv2.ellipse(values, (240, 160), (90, 130), 0, 0, 360, 1, -1)
    cv2.rectangle(values, (90, 260), (420, 480), 1, -1)
    cv2.rectangle(values, (100, 215), (420, 260), 2, -1)
    return values


@pytest.mark.parametrize("levels", [2, 3])
@pytest.mark.parametrize("write_maps", [write_voc, lambda root, maps: write_coco(root, maps, 7)])
def test_a_map_that_is_a_picture_of_its_image_in_few_levels_is_left_out(
    levels: int, write_maps: Any, tmp_path: Path
) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    maps = {"a": draw_levels(levels), "b": draw_person(), "c": draw_shapes()}
    write_maps(source, maps)
    for path in [*source.glob("JPEGImages/*"), *source.glob("val2017/*")]:
        path.write_bytes(rgb_png(photograph()))
    curate.blur(source, out, FAST, Session(workers=1))
    lines = [line for line in lines_of(out).values() if line["path"].endswith(".png")]
    withheld = [line for line in lines if line.get("withheld")]
    assert {Path(line["path"]).name for line in withheld} == {"a.png"}
    assert {line["reason"] for line in withheld} <= {FACE_FOUND, FACE_DRAWN}
    assert list(iter_problems(out, source, 1)) == []


@pytest.mark.parametrize("levels", [2, 3, 4, 8])
@pytest.mark.parametrize("size", [480, 240, 120])
def test_labels_that_follow_the_brightness_of_a_face_show_it(levels: int, size: int) -> None:
    image, face = photograph(), Box(175, 70, 290, 235)
    shape = (size, size)
    for seed in range(2):
        drawn = cv2.resize(draw_levels(levels, seed), shape, interpolation=cv2.INTER_NEAREST)
        data = indexed_png(drawn, voc_palette())
        assert shows_faces(data, image, [face])
        assert not shows_faces(data, image, [])
    honest = cv2.resize(draw_person(), shape, interpolation=cv2.INTER_NEAREST)
    assert not shows_faces(indexed_png(honest, voc_palette()), image, [face])


def test_faces_under_24_pixels_of_the_map_are_not_examined() -> None:
    image, face = photograph(), Box(175, 70, 290, 235)
    tiny = cv2.resize(draw_levels(3), (60, 60), interpolation=cv2.INTER_NEAREST)
    assert not shows_faces(indexed_png(tiny, voc_palette()), image, [face])


@pytest.mark.parametrize("size", [8, 12, 20, 23])
def test_a_map_smaller_than_a_window_is_examined_too(size: int) -> None:
    gray = cv2.cvtColor(skimage.data.astronaut()[20:180, 140:300], cv2.COLOR_RGB2GRAY)
    face = cv2.resize(gray, (size, size), interpolation=cv2.INTER_AREA) // 32
    assert find_drawing(indexed_png(face, voc_palette())) is not None
    halves = np.zeros((size, size), np.uint8)
    halves[:, size // 2 :] = 1
    assert find_drawing(indexed_png(halves, voc_palette())) is None
