from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from curate.core.affine import Affine, identity
from curate.core.errors import DataError
from curate.layouts import open_source
from curate.layouts.coco.geometry import move_annotation
from curate.layouts.editing import GeneratedImage, Outcome
from tests.core.test_affine import mirror, turn
from tests.layouts.editing.outputs import Output, Plan, edit, plan_for
from tests.layouts.examples.coco import EXAMPLE, INSTANCES, MAP, PANOPTIC
from tests.layouts.examples.example import jpeg, write

WIDTH, HEIGHT = 48, 40
NAMES = ["nose", "left_eye", "right_eye"]
TEXT = ', "annotations": [\n  {"id": 5, "image_id": 1, "score": 1.50, "x-é": "é"}\n]\n}\n'


def annotation(**values: Any) -> dict[str, Any]:
    return {"id": 5, "image_id": 1, "category_id": 1, **values}


def runs(mask: np.ndarray[Any, Any]) -> dict[str, Any]:
    found = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": found["size"], "counts": found["counts"].decode()}


def build(root: Path, *annotations: dict[str, Any], **rest: Any) -> None:
    images = [
        {"id": 1, "file_name": "a.jpg", "width": WIDTH, "height": HEIGHT, "license": 3},
        {"id": 4, "file_name": "b.jpg", "width": WIDTH, "height": HEIGHT},
    ]
    for seed, image in enumerate(images):
        write(root, f"images/{image['file_name']}", jpeg(seed))
    categories = [{"id": 1, "name": "person", "keypoints": NAMES, "skeleton": [[1, 2]]}]
    whole = {"info": {"year": 9}, "images": images, "annotations": annotations}
    write(root, "instances.json", json.dumps(whole | {"categories": categories} | rest))


def run(root: Path, maps: dict[str, Any], removed: tuple[str, ...] = ()) -> tuple[Any, Output]:
    """The edited JSON, and what became of the files."""
    plan, files = plan_for(root, maps, "coco")
    plan.removed = frozenset(removed)
    done = edit(root, root.parent / "out", plan, files, "coco")
    return json.loads((root.parent / "out/instances.json").read_text()), done


def load(path: Path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


def made_by(affine: Affine) -> GeneratedImage:
    return GeneratedImage("images/a_aug1.jpg", affine, WIDTH, HEIGHT)


def move(given_annotation: dict[str, Any], affine: Affine) -> dict[str, Any] | None:
    return move_annotation(given_annotation, made_by(affine), (WIDTH, HEIGHT), NAMES, "x")


def test_items_that_stay_keep_every_byte(root: Path) -> None:
    for name in ("a", "b", "c"):
        write(root, f"{name}.jpg", jpeg(1))
    lines = [f'  {{"file_name": "{n}.jpg", "id": {i}, "u": 1.0}}' for i, n in enumerate("abc", 1)]
    write(root, "instances.json", '{ "images" : [\n' + ",\n".join(lines) + "\n ]" + TEXT)
    plan = Plan(removed=frozenset({"b.jpg"}))
    edit(root, root.parent / "out", plan, layout="coco")
    left = [lines[0], lines[2]]
    text = '{ "images" : [\n' + ",\n".join(left) + "\n ]" + TEXT
    assert (root.parent / "out/instances.json").read_text() == text
    plan = Plan(removed=frozenset({"a.jpg", "c.jpg"}))
    edit(root, root.parent / "two", plan, layout="coco")
    text = (root.parent / "two/instances.json").read_text()
    assert text == '{ "images" : [\n' + lines[1] + "\n ]" + TEXT.replace(
        TEXT.splitlines()[1], ""
    ).replace("[\n\n]", "[\n]")
    plan = Plan(removed=frozenset({"a.jpg", "b.jpg", "c.jpg"}))
    edit(root, root.parent / "none", plan, layout="coco")
    assert json.loads((root.parent / "none/instances.json").read_text()) == {
        "images": [],
        "annotations": [],
    }


def test_new_items_have_ids_above_all_and_follow_their_source(root: Path) -> None:
    build(root, annotation(bbox=[1, 2, 3, 4], more=["é"]), annotation(id=9, image_id=4, area=7))
    found, done = run(root, {"images/a.jpg": [None, mirror(WIDTH, HEIGHT)]}, ("images/b.jpg",))
    assert done.results == {"instances.json": Outcome.EDITED}
    assert [(i["id"], i["file_name"], i["width"], i.get("license")) for i in found["images"]] == [
        (1, "a.jpg", 48, 3),
        (5, "a_aug1.jpg", 48, 3),
        (6, "a_aug2.jpg", 48, 3),
    ]
    assert [(a["id"], a["image_id"], a["bbox"], a["more"]) for a in found["annotations"]] == [
        (5, 1, [1, 2, 3, 4], ["é"]),
        (10, 5, [1, 2, 3, 4], ["é"]),
        (11, 6, [44, 2, 3, 4], ["é"]),
    ]
    assert found["info"] == {"year": 9}
    assert found["categories"][0]["skeleton"] == [[1, 2]]


def test_one_image_has_one_new_id_in_all_files(root: Path) -> None:
    build(root, annotation())
    images = [
        {"id": 90, "file_name": "b.jpg"},
        {"id": 70, "file_name": "a.jpg"},
    ]
    said = [{"id": 1, "image_id": 70, "caption": "left"}]
    write(root, "captions.json", json.dumps({"annotations": said, "images": images}))
    same = [identity(WIDTH, HEIGHT)]
    found, _ = run(root, {"images/a.jpg": same, "images/b.jpg": same})
    ids = {image["file_name"]: image["id"] for image in found["images"]}
    captions = json.loads((root.parent / "out/captions.json").read_text())
    assert {image["file_name"]: image["id"] for image in captions["images"]} == ids | {
        "a.jpg": 70,
        "b.jpg": 90,
    }
    assert min(ids["a_aug1.jpg"], ids["b_aug1.jpg"]) > 90
    assert captions["annotations"][1] == {
        "id": 2,
        "image_id": ids["a_aug1.jpg"],
        "caption": "left",
    }


def test_an_image_that_is_listed_twice_has_copies_of_both(root: Path) -> None:
    build(root, annotation(), images=[{"id": n, "file_name": "a.jpg"} for n in (1, 2)])
    found, _ = run(root, {"images/a.jpg": [None]})
    assert [image["id"] for image in found["images"]] == [1, 3, 2, 4]
    assert [label["image_id"] for label in found["annotations"]] == [1, 3]


def test_ids_that_are_texts_stay_unique(root: Path) -> None:
    for seed, name in enumerate(("a.jpg", "b.jpg")):
        write(root, f"images/{name}", jpeg(seed))
    images = [{"id": "a", "file_name": "a.jpg"}, {"id": "a_aug1", "file_name": "b.jpg"}]
    labels = [{"id": "x", "image_id": "a"}, {"id": "x_aug1", "image_id": "a"}]
    write(root, "instances.json", json.dumps({"images": images, "annotations": labels}))
    found, _ = run(root, {"images/a.jpg": [None]})
    assert [image["id"] for image in found["images"]] == ["a", "a_aug1_", "a_aug1"]
    assert [label["id"] for label in found["annotations"]] == [
        "x",
        "x_aug1_",
        "x_aug1",
        "x_aug1_aug1",
    ]
    assert list(open_source(str(root.parent / "out"), "coco").check()) == [
        'instances.json: 1 images have no annotation, such as that of id "a_aug1".'
    ]


POLYGON = [10, 8, 30, 8, 30, 24, 20, 30, 10, 24]


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
@pytest.mark.parametrize("affine", [mirror(WIDTH, HEIGHT), turn(20, WIDTH, HEIGHT)])
def test_masks_are_those_that_pycocotools_sees(root: Path, affine: Affine) -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[5:20, 9:40] = 1
    plain = {"size": [HEIGHT, WIDTH], "counts": [5, 30, HEIGHT * WIDTH - 35]}
    labels = [
        annotation(id=1, segmentation=[POLYGON], area=388.0, bbox=[10, 8, 20, 22], iscrowd=0),
        annotation(id=2, segmentation=runs(mask), area=465, bbox=[9, 5, 31, 15], iscrowd=1),
        annotation(id=3, segmentation=plain, area=30, bbox=[0, 5, 1, 30], iscrowd=1),
    ]
    build(root, *labels)
    run(root, {"images/a.jpg": [affine]})
    before, after = load(root / "instances.json"), load(root.parent / "out/instances.json")
    by_source = {label["id"]: label for label in after.loadAnns(after.getAnnIds(imgIds=[5]))}
    for number, label in enumerate(labels, start=4):
        made = by_source.get(number)
        if made is None:
            assert label["id"] == 3  # a thin strip at the border is turned out of the image
            continue
        seen = after.annToMask(made)
        expected = affine.mask(before.annToMask(label))
        assert np.count_nonzero(seen != expected) <= 0.09 * expected.sum()
        assert made["area"] == pytest.approx(float(seen.sum()), rel=0.06)
        assert isinstance(made["segmentation"], type(label["segmentation"]))
        x, y, wide, high = made["bbox"]
        rows, columns = np.nonzero(seen)
        np.testing.assert_allclose(
            (x, y, x + wide, y + high),
            (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1),
            atol=1.01,
        )


def test_the_kind_of_run_lengths_stays() -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[5:20, 9:40] = 1
    text = move(annotation(segmentation=runs(mask)), mirror(WIDTH, HEIGHT))
    assert text is not None
    assert text["segmentation"] == runs(mask[:, ::-1])
    plain = {"size": [HEIGHT, WIDTH], "counts": [0, HEIGHT, HEIGHT * WIDTH - HEIGHT]}
    found = move(annotation(segmentation=plain), mirror(WIDTH, HEIGHT))
    assert found is not None
    assert found["segmentation"]["counts"] == [HEIGHT * (WIDTH - 1), HEIGHT]


def test_keypoints_change_sides_in_a_mirror_only() -> None:
    points = [1, 2, 2, 10, 11, 1, 0, 0, 0]
    flipped = move(annotation(keypoints=points, num_keypoints=2), mirror(WIDTH, HEIGHT))
    assert flipped is not None
    assert flipped["keypoints"] == [46, 2, 2, 0, 0, 0, 37, 11, 1]
    assert flipped["num_keypoints"] == 2
    half = move(annotation(keypoints=points, num_keypoints=2), turn(180, WIDTH, HEIGHT))
    assert half is not None
    assert half["keypoints"] == [46, 37, 2, 37, 28, 1, 0, 0, 0]
    left = Affine(((1.0, 0.0, -5.0), (0.0, 1.0, 0.0)), WIDTH, HEIGHT)
    moved = move(annotation(keypoints=points, num_keypoints=2), left)
    assert moved is not None
    assert moved["keypoints"] == [0, 0, 0, 5, 11, 1, 0, 0, 0]
    assert moved["num_keypoints"] == 1


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (None, "do not distinguish left and right"),
        (["1", "2", "3"], "do not distinguish left and right"),
        (["nose", "left_eye", "left_ear"], "'left_eye' but no 'right_eye'"),
    ],
)
def test_keypoints_without_sides_are_refused_in_a_mirror(
    names: list[str] | None, line: str
) -> None:
    given_annotation = annotation(keypoints=[1, 2, 2] * 3)
    size = (WIDTH, HEIGHT)
    with pytest.raises(DataError, match=line):
        move_annotation(given_annotation, made_by(mirror(*size)), size, names, "x")
    for affine in (identity(*size), turn(5, *size)):
        assert move_annotation(given_annotation, made_by(affine), size, names, "x")


def test_objects_outside_are_removed_and_others_clipped() -> None:
    away = Affine(((1.0, 0.0, -20.0), (0.0, 1.0, 0.0)), WIDTH, HEIGHT)
    assert move(annotation(bbox=[1, 1, 9, 9]), away) is None
    assert move(annotation(segmentation=[[1, 1, 9, 1, 9, 9]]), away) is None
    half = move(annotation(bbox=[15, 1, 10, 9], area=90, iscrowd=0), away)
    assert half == annotation(bbox=[0, 1, 5, 9], area=45, iscrowd=0)
    two = [[1, 1, 9, 1, 9, 9, 1, 9], [30, 1, 34, 1, 34, 5, 30, 5]]
    left = move(annotation(segmentation=two, bbox=[1, 1, 33, 8], area=80), away)
    assert left is not None
    assert np.reshape(left["segmentation"], (-1, 2)).max(axis=0).tolist() == [14, 5]
    assert left["area"] == 16
    assert move(annotation(caption="a dog"), away) == annotation(caption="a dog")


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"bbox": [1, 2, 3]}, r"x\.bbox is '\[1, 2, 3\]'; expected a list of 4 numbers"),
        ({"bbox": [1, 2, -3, 4]}, r"x\.bbox has a negative size"),
        ({"segmentation": [[1, 2, 3]]}, r"x\.segmentation\[0\] has 3 numbers"),
        ({"segmentation": "abc"}, "expected polygons or run lengths"),
        (
            {"segmentation": {"size": [40, 48], "counts": [1]}},
            "not contain the run lengths of a mask",
        ),
        ({"segmentation": {"size": [9, 9], "counts": [81]}}, "states an image size of 9×9"),
        ({"keypoints": [1, 2]}, "has 2 numbers; expected 9"),
        ({"face_box": [1, 2, 3, 4]}, r"x\.face_box seems to contain coordinates"),
        ({"segments_info": []}, "panoptic"),
    ],
)
def test_what_cannot_be_transformed_is_one_line(values: dict[str, Any], line: str) -> None:
    with pytest.raises(DataError, match=line) as caught:
        move(annotation(**values), mirror(WIDTH, HEIGHT))
    assert "\n" not in str(caught.value)


def test_boxes_of_another_size_are_refused_unless_nothing_moves(root: Path) -> None:
    build(root, annotation(bbox=[1, 2, 3, 4]))
    text = (root / "instances.json").read_text().replace('"width": 48', '"width": 96')
    (root / "instances.json").write_text(text)
    with pytest.raises(DataError, match=r"annotations\[0\] states an image size of 96×40, but the"):
        run(root, {"images/a.jpg": [mirror(WIDTH, HEIGHT)]})
    found, _ = run(root, {"images/a.jpg": [identity(WIDTH, HEIGHT)]})
    assert found["annotations"][1]["bbox"] == [1, 2, 3, 4]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_are_of_the_stored_image_unless_its_size_says_upright(orientation: int) -> None:
    from curate.core.geometry import Box, to_upright

    wide, high = (HEIGHT, WIDTH) if orientation >= 5 else (WIDTH, HEIGHT)
    made = GeneratedImage("a_aug1.jpg", identity(wide, high), wide, high, orientation)
    stored = move_annotation(annotation(bbox=[1, 2, 10, 20]), made, (WIDTH, HEIGHT), None, "x")
    box = to_upright(Box(1, 2, 11, 22), orientation, WIDTH, HEIGHT)
    assert stored is not None
    assert stored["bbox"] == [box.x0, box.y0, box.width, box.height]
    if orientation >= 5:
        upright = move_annotation(annotation(bbox=[1, 2, 10, 20]), made, (wide, high), None, "x")
        assert upright is not None
        assert upright["bbox"] == [1, 2, 10, 20]


def test_panoptic_maps_go_with_their_image(tmp_path: Path) -> None:
    root, out = tmp_path / "source", tmp_path / "out"
    root.mkdir()
    EXAMPLE.build(root)
    done = edit(root, out, Plan(removed=frozenset({"val2017/c.jpg"})))
    assert done.results[MAP] is Outcome.DROPPED
    assert json.loads((out / PANOPTIC).read_text()) == {"images": [], "annotations": []}
    assert done.results[INSTANCES] is Outcome.SAME
    plan, files = plan_for(root, {"val2017/c.jpg": [None]})
    with pytest.raises(DataError, match="panoptic map, for which images cannot be generated"):
        edit(root, tmp_path / "two", plan, files)


def test_a_table_that_names_images_loses_their_rows(root: Path) -> None:
    build(root)
    write(root, "labels.csv", "name,label\nimages/a.jpg,1\nb.jpg,2\n")
    write(root, "other.json", '["b.jpg"]')
    _, done = run(root, {}, ("images/b.jpg",))
    assert done.results["labels.csv"] is Outcome.EDITED
    assert (root.parent / "out/labels.csv").read_text() == "name,label\nimages/a.jpg,1\n"
    assert done.notes == {
        "other.json": "it is copied unchanged and may name 1 removed image, such as 'b.jpg'"
    }


boxes = st.tuples(*[st.integers(0, 19)] * 4).map(lambda v: [v[0], v[1], v[2] + 1, v[3] + 1])


@given(boxes, st.booleans())
def test_a_mirror_image_of_a_mirror_image_is_the_image(box: list[int], whole: bool) -> None:
    x, y, wide, high = box if whole else [value + 0.25 for value in box]
    outline = [x, y, x + wide, y, x + wide, y + high]
    first = annotation(bbox=[x, y, wide, high], area=wide * high / 2, segmentation=[outline])
    first["keypoints"] = [x, y, 2, 0, 0, 0, x + 1, y, 1]
    flip = mirror(WIDTH, HEIGHT)
    once = move(first, flip)
    assert once is not None
    assert once["bbox"] == [WIDTH - x - wide, y, wide, high]
    assert once["area"] == first["area"]
    twice = move(once, flip)
    assert twice is not None
    points = np.reshape(twice.pop("segmentation"), (-1, 2)).tolist()
    assert sorted(points) == sorted(np.reshape(first.pop("segmentation"), (-1, 2)).tolist())
    assert twice == first


@given(
    boxes,
    st.floats(-40, 40),
    st.floats(0.7, 1.3),
    st.booleans(),
    st.tuples(st.floats(-9, 9), st.floats(-9, 9)),
)
def test_any_map_agrees_with_a_drawn_mask(
    box: list[int], angle: float, scale: float, flip: bool, shift: tuple[float, float]
) -> None:
    x, y, wide, high = box[0], box[1], box[2] + 6, min(box[3] + 6, HEIGHT - box[1])
    stretch = Affine(((scale, 0.0, shift[0]), (0.0, scale, shift[1])), WIDTH, HEIGHT)
    affine = stretch.after(turn(angle, WIDTH, HEIGHT))
    affine = affine.after(mirror(WIDTH, HEIGHT)) if flip else affine
    outline = [x, y, x + wide, y, x + wide, y + high, x, y + high]
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[y : y + high, x : x + wide] = 1
    # The same rectangle drawn eight times as fine, so that pixels do not matter.
    fine = Affine(((8.0, 0.0, 0.0), (0.0, 8.0, 0.0)), WIDTH * 8, HEIGHT * 8)
    drawn = fine.after(affine).mask(mask)
    assume(drawn.sum() > 64 * 16)
    found = move(annotation(bbox=[x, y, wide, high], segmentation=[outline], area=1000), affine)
    assert found is not None
    rows, columns = np.nonzero(drawn)
    seen = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / 8
    left, top, across, down = found["bbox"]
    np.testing.assert_allclose([left, top, left + across, top + down], seen, atol=0.3)
    share = drawn.sum() / 64 / (wide * high)
    assert found["area"] == pytest.approx(1000 * share, rel=0.04)
    as_mask = move(annotation(bbox=[x, y, wide, high], segmentation=runs(mask)), affine)
    assert as_mask is not None
    np.testing.assert_allclose(as_mask["bbox"], found["bbox"], atol=3)  # thin tips hold no pixel


@pytest.mark.parametrize(
    ("item", "stays"),
    [
        ({"image_id": 4, "caption": "street"}, False),
        ({"image_id": 1, "caption": "street"}, True),
        ({"image_ids": [1, 4], "relation": "same"}, False),
        ({"image_ids": [1], "relation": "same"}, True),
        ({"file_name": "b.jpg", "subject": "x"}, False),
        ({"file_name": "images/b.jpg"}, False),
        ({"file_name": "a.jpg", "image_id": 1}, True),
        ({"image_id": "4"}, True),  # another id than 4
        ({"image_id": 77}, True),
        ({"image_id": None, "file_name": 4, "image_ids": 4}, True),
    ],
)
def test_items_of_other_lists_go_with_their_image(
    item: dict[str, Any], stays: bool, root: Path
) -> None:
    first, last = {"image_id": 1, "text": "first"}, {"image_id": 1, "text": "last"}
    extra = {"relations": [first, item, last], "order": [3, 1], "empty": [], "pairs": [[4, 1]]}
    build(root, annotation(), annotation(id=9, image_id=4), **extra)
    found, _ = run(root, {}, ("images/b.jpg",))
    assert found["relations"] == ([first, item, last] if stays else [first, last])
    assert {key: found[key] for key in ("order", "empty", "pairs")} == {
        key: extra[key] for key in ("order", "empty", "pairs")
    }


def test_a_file_in_which_only_another_list_names_a_removed_image_is_edited(root: Path) -> None:
    build(root, annotation())
    captions = {"images": [], "annotations": [], "captions": [{"file_name": "images/b.jpg"}]}
    images = [{"id": 4, "file_name": "b.jpg"}]
    write(root, "captions.json", json.dumps(captions | {"images": images}))
    run(root, {}, ("images/b.jpg",))
    found = json.loads((root.parent / "out/captions.json").read_text())
    assert found == {"images": [], "annotations": [], "captions": []}
