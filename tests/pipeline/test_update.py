"""``--update``: a finished output is brought up to date with corrected boxes."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import curate
from curate import Recipe, Session, codec
from curate.core.errors import DataError, PausedError, UsageError
from curate.layouts import open_source
from curate.manifest.store import iter_entries
from curate.pipeline import assembly, other_files
from curate.pipeline.given_faces import DIGESTS
from curate.pipeline.session import Snapshot
from curate.pipeline.verify import iter_problems
from curate.storage.atomic import sync_folder
from tests.pipeline.test_containers import Build, as_arrow, as_parquet, as_tar

RECIPE = Recipe(shard_size=3)
Boxes = dict[str, list[tuple[float, float, float, float]] | None]
NAMES = [f"{folder}/{number}" for folder in "ab" for number in range(4)]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    for index, name in enumerate(NAMES):
        path = folder / (name + (".png", ".jpg", ".gif", ".webp")[index % 4])
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((64, 48), 20 + index).convert("RGB").save(path)
    frames = [Image.new("L", (64, 48), value) for value in (0, 99, 200)]
    frames[0].save(folder / "a/moving.gif", save_all=True, append_images=frames[1:])
    return folder


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Digests of everything that was decoded, in order."""
    seen: list[str] = []
    load = codec.load

    def note(data: bytes, *options: Any) -> Any:
        seen.append(hashlib.sha256(data).hexdigest())
        return load(data, *options)

    monkeypatch.setattr(codec, "load", note)
    return seen


def names(source: Path) -> list[str]:
    return sorted(p.relative_to(source).as_posix() for p in source.rglob("*") if p.is_file())


def make_boxes(source: Path) -> Boxes:
    """A face in every other image."""
    return {n: [(8.5, 9, 24, 27.25)] * (i % 2) for i, n in enumerate(names(source))}


def save_table(path: Path, boxes: Boxes, states: dict[str, str] | None = None) -> Path:
    faces = [
        None if found is None else [{"xyxy": box} for box in found] for found in boxes.values()
    ]
    box = pa.list_(pa.struct([("xyxy", pa.list_(pa.float64()))]))
    columns = {"id": pa.array(list(boxes)), "faces": pa.array(faces, box)}
    if states is not None:
        columns["review"] = pa.array([states.get(name) for name in boxes], pa.string())
    pq.write_table(pa.table(columns), path)
    return path


def blur(source: Path, out: Path, faces: Path, **options: Any) -> curate.Summary:
    recipe = options.pop("recipe", RECIPE)
    session = Session(workers=1, faces=faces, allow_missing=True, **options)
    return curate.blur(source, out, recipe, session, quiet=True)


def pause(source: Path, out: Path, faces: Path, **options: Any) -> None:
    """Run until a shard is committed."""
    stop = threading.Event()

    def watch(now: Snapshot) -> None:
        if now.images > 0:
            stop.set()

    with pytest.raises(PausedError):
        blur(source, out, faces, stop=stop, watch=watch, **options)


def content(out: Path) -> dict[str, bytes]:
    """Every file of ``data/`` and of the manifest, but for times and what depends on them."""
    logs = ("manifest/log.jsonl", "manifest/SHA256SUMS")
    files = {p.relative_to(out).as_posix(): p for p in out.rglob("*") if p.is_file()}
    return {name: path.read_bytes() for name, path in files.items() if name not in logs}


def sources_among(decoded: Sequence[str], source: Path) -> set[str]:
    digests = {hashlib.sha256((source / n).read_bytes()).hexdigest(): n for n in names(source)}
    return {digests[each] for each in decoded if each in digests}


def check_update(
    source: Path, out: Path, faces: Path, decoded: list[str], redone: set[str]
) -> None:
    """Update, and compare with a new run."""
    decoded.clear()
    blur(source, out, faces, update=True)
    assert sources_among(decoded, source) == redone
    fresh = out.with_name("fresh")
    blur(source, fresh, faces)
    assert content(out) == content(fresh)
    assert sorted(path.name for path in out.iterdir()) == ["data", "manifest"]


BOX = (30.0, 20.0, 50.0, 44.0)
Change = Callable[[Boxes], None]
CHANGES: dict[str, tuple[Change, set[str]]] = {
    "moved": (lambda boxes: boxes.update({"a/1.jpg": [BOX]}), {"a/1.jpg"}),
    "added": (
        lambda boxes: boxes.update({"a/0.png": [BOX], "b/3.webp": [BOX]}),
        {"a/0.png", "b/3.webp"},
    ),
    "removed": (lambda boxes: boxes.update({"a/1.jpg": []}), {"a/1.jpg"}),
    "repeated": (lambda boxes: boxes.update({"a/1.jpg": [(8.5, 9, 24, 27.25)] * 2}), {"a/1.jpg"}),
    "withheld": (lambda boxes: boxes.update({"a/1.jpg": None}), {"a/1.jpg"}),
    "no entry": (lambda boxes: boxes.__delitem__("b/0.png"), {"b/0.png"}),
    "nothing": (lambda boxes: None, set()),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_only_changed_images_are_redone_and_the_result_is_that_of_a_new_run(
    change: str, source: Path, tmp_path: Path, decoded: list[str]
) -> None:
    boxes = make_boxes(source)
    blur(source, tmp_path / "out", save_table(tmp_path / "first.parquet", boxes))
    apply, redone = CHANGES[change]
    apply(boxes)
    faces = save_table(tmp_path / "second.parquet", boxes)
    unknown = {name for name in names(source) if boxes.get(name) and name[-4:] in (".gif", "webp")}
    check_update(source, tmp_path / "out", faces, decoded, redone | unknown)
    assert not list(iter_problems(tmp_path / "out", source))


@pytest.mark.parametrize("given", [None, "0" * 64])
def test_faces_of_another_file_of_a_withheld_image_are_told_as_by_a_new_run(
    given: str | None, source: Path, tmp_path: Path
) -> None:
    out, fresh = tmp_path / "out", tmp_path / "fresh"
    boxes = {name: found for name, found in make_boxes(source).items() if name != "a/1.jpg"}
    faces = save_table(tmp_path / "first.parquet", boxes)
    digests = faces.with_name(faces.name + DIGESTS)
    line = {"id": "a/1.jpg", "sha256": None, "withheld": "truncated: it ends early"}
    digests.write_text(json.dumps(line) + "\n")
    blur(source, out, faces)
    digests.write_text(json.dumps({**line, "sha256": given}) + "\n")
    blur(source, out, faces, update=True)
    blur(source, fresh, faces)
    assert content(out) == content(fresh)
    reasons = {entry.id: entry.reason for entry in iter_entries(out / "manifest/records")}
    assert ("other-file" in str(reasons["a/1.jpg"])) is (given is not None)


@pytest.fixture
def first(source: Path, tmp_path: Path) -> Path:
    """The faces of a finished output, ``out``."""
    faces = save_table(tmp_path / "first.parquet", make_boxes(source))
    blur(source, tmp_path / "out", faces)
    return faces


@pytest.fixture
def second(source: Path, tmp_path: Path) -> Path:
    """Corrected boxes."""
    return save_table(tmp_path / "second.parquet", {**make_boxes(source), "a/1.jpg": [BOX]})


@pytest.mark.usefixtures("first")
def test_no_image_is_decoded_where_the_frames_of_all_faces_are_given(
    source: Path, tmp_path: Path, decoded: list[str]
) -> None:
    faces = Path(shutil.copytree(tmp_path / "out", tmp_path / "earlier"))
    check_update(source, tmp_path / "out", faces, decoded, set())


def test_images_with_another_review_state_are_redone(
    source: Path, tmp_path: Path, decoded: list[str]
) -> None:
    boxes: Boxes = {name: [] for name in names(source)}
    states = {"a/0.png": "not looked at", "a/1.jpg": "reviewed", "b/1.jpg": "not looked at"}
    blur(source, tmp_path / "out", save_table(tmp_path / "first.parquet", boxes, states))
    states |= {"a/0.png": "reviewed", "b/0.png": "sampled"}
    del states["b/1.jpg"]
    faces = save_table(tmp_path / "second.parquet", boxes, states)
    check_update(source, tmp_path / "out", faces, decoded, {"a/0.png", "b/0.png", "b/1.jpg"})


def test_images_that_changed_in_source_are_redone(
    source: Path, tmp_path: Path, decoded: list[str]
) -> None:
    boxes: Boxes = {name: [] for name in [*names(source), "b/new.png"]}
    faces = save_table(tmp_path / "faces.parquet", boxes)
    blur(source, tmp_path / "out", faces)
    Image.new("RGB", (64, 48), "red").save(source / "a/0.png")
    Image.new("RGB", (64, 48), "blue").save(source / "b/new.png")
    (source / "b/1.jpg").unlink()
    check_update(source, tmp_path / "out", faces, decoded, {"a/0.png", "b/new.png"})


@pytest.mark.parametrize("damage", [lambda p: p.unlink(), lambda p: p.write_bytes(b"x")])
@pytest.mark.usefixtures("first")
def test_a_damaged_image_of_the_output_is_made_again(
    damage: Callable[[Path], Any], source: Path, second: Path, tmp_path: Path, decoded: list[str]
) -> None:
    damage(tmp_path / "out/data/b/0.png")
    decoded.clear()
    blur(source, tmp_path / "out", second, update=True)
    assert {"a/1.jpg", "b/0.png"} <= sources_among(decoded, source)
    blur(source, tmp_path / "fresh", second)
    assert content(tmp_path / "out") == content(tmp_path / "fresh")


@pytest.mark.parametrize("build", [as_tar, as_parquet, as_arrow])
def test_images_in_containers_are_updated(
    build: Build, source: Path, tmp_path: Path, decoded: list[str]
) -> None:
    images = [source / name for name in ("a/0.png", "a/1.jpg", "b/0.png")]
    build(tmp_path / "in", images)
    ids = [record.id for record in open_source(str(tmp_path / "in")).records()]
    boxes: Boxes = {name: [(8.0, 9.0, 24.0, 27.0)] for name in ids}
    blur(tmp_path / "in", tmp_path / "out", save_table(tmp_path / "first.parquet", boxes))
    faces = save_table(tmp_path / "second.parquet", {**boxes, ids[1]: [BOX]})
    decoded.clear()
    blur(tmp_path / "in", tmp_path / "out", faces, update=True)
    digests = [hashlib.sha256(image.read_bytes()).hexdigest() for image in images]
    assert [digest in decoded for digest in digests] == [False, True, False]
    blur(tmp_path / "in", tmp_path / "fresh", faces)
    assert content(tmp_path / "out") == content(tmp_path / "fresh")


class Killed(BaseException):
    """Stands in for the end of the process."""


def kill_at(monkeypatch: pytest.MonkeyPatch, moment: int) -> None:
    """Kill at a call of a function that the output is moved with."""
    calls = iter(range(1000))

    def count(function: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: Any) -> None:
            if next(calls) == moment:
                raise Killed
            function(*arguments)

        return call

    for module in (assembly, other_files):
        monkeypatch.setattr(module, "sync_folder", count(sync_folder))
    monkeypatch.setattr(assembly, "remove_work", count(assembly.remove_work))


@pytest.mark.parametrize("moment", range(8))
@pytest.mark.usefixtures("first")
def test_an_update_that_is_killed_while_it_replaces_the_output_continues(
    moment: int, source: Path, second: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    blur(source, tmp_path / "fresh", second)
    before, after = content(out), content(tmp_path / "fresh")
    with monkeypatch.context() as patch:
        kill_at(patch, moment)
        with pytest.raises(Killed):
            blur(source, out, second, update=True)
    left = {n: data for n, data in content(out).items() if not n.startswith(".curate/")}
    # With a manifest, the output is the old one or the new one, as a whole.
    assert left in (before, after) if (out / "manifest").exists() else moment
    blur(source, out, second, update=True)
    assert content(out) == after


@pytest.mark.usefixtures("first")
def test_a_paused_update_continues_and_the_output_stays_valid_meanwhile(
    source: Path, second: Path, tmp_path: Path, decoded: list[str]
) -> None:
    out = tmp_path / "out"
    before = content(out)
    pause(source, out, second, update=True)
    left = {n: data for n, data in content(out).items() if not n.startswith(".curate/")}
    assert left == before
    assert list((out / ".curate/shards").iterdir())
    decoded.clear()
    blur(source, out, second, update=True)
    assert "a/1.jpg" not in sources_among(decoded, source)  # done before the pause
    blur(source, tmp_path / "fresh", second)
    assert content(out) == content(tmp_path / "fresh")


@pytest.mark.usefixtures("first")
def test_other_boxes_than_those_of_a_paused_update_start_it_again(
    source: Path, second: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    pause(source, out, second, update=True)
    third = save_table(tmp_path / "third.parquet", {**make_boxes(source), "a/1.jpg": []})
    blur(source, out, third, update=True)
    blur(source, tmp_path / "fresh", third)
    assert content(out) == content(tmp_path / "fresh")


@pytest.mark.parametrize(
    "recipe",
    [Recipe(shard_size=3, method="fill"), Recipe(shard_size=2), Recipe(shard_size=3, margin=0.3)],
)
@pytest.mark.usefixtures("first")
def test_another_recipe_is_refused_and_the_output_left_as_it_was(
    recipe: Recipe, source: Path, second: Path, tmp_path: Path
) -> None:
    before = content(tmp_path / "out")
    with pytest.raises(UsageError, match="another recipe") as refusal:
        blur(source, tmp_path / "out", second, update=True, recipe=recipe)
    assert "faces_sha256" not in str(refusal.value)
    assert "use the same options" in str(refusal.value)
    assert content(tmp_path / "out") == before


@pytest.mark.usefixtures("first")
def test_other_faces_alone_are_refused_with_short_digests_and_the_way_to_apply_them(
    source: Path, second: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="add --update to apply these faces") as refusal:
        blur(source, tmp_path / "out", second)
    assert not re.search("[0-9a-f]{13}", str(refusal.value))


def test_options_of_detection_are_no_other_recipe(
    source: Path, first: Path, tmp_path: Path
) -> None:
    blur(source, tmp_path / "out", first, update=True, recipe=Recipe(shard_size=3, profile="fast"))


@pytest.mark.usefixtures("first")
def test_other_libraries_are_refused(source: Path, second: Path, tmp_path: Path) -> None:
    path = tmp_path / "out/manifest/run.json"
    facts = json.loads(path.read_text())
    facts["libraries"]["numpy"] = "1.0"
    path.write_text(json.dumps(facts))
    with pytest.raises(DataError, match=r"other libraries \(numpy 1\.0"):
        blur(source, tmp_path / "out", second, update=True)


@pytest.mark.usefixtures("first")
def test_changed_records_are_refused(source: Path, second: Path, tmp_path: Path) -> None:
    parts = sorted((tmp_path / "out/manifest/records").iterdir())
    shutil.copy(parts[0], parts[1])
    with pytest.raises(DataError, match=r"records of .* have changed"):
        blur(source, tmp_path / "out", second, update=True)


def test_an_output_that_is_not_finished_is_refused(
    source: Path, second: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="not a finished output"):
        blur(source, tmp_path / "none", second, update=True)
    assert not (tmp_path / "none").exists()
    pause(source, tmp_path / "half", second)
    with pytest.raises(UsageError, match="not a finished output"):
        blur(source, tmp_path / "half", second, update=True)
    blur(source, tmp_path / "half", second)


@pytest.mark.usefixtures("first")
def test_an_update_needs_faces_from_outside_the_output(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="give --faces FILE"):
        curate.blur(source, tmp_path / "out", RECIPE, update=True)
    for inside in (tmp_path / "out", tmp_path / "out/manifest"):
        with pytest.raises(UsageError, match="outside"):
            blur(source, tmp_path / "out", inside, update=True)


@pytest.mark.usefixtures("first")
def test_the_key_of_published_ids_is_kept_and_changes_and_stale_files_are_told(
    source: Path, second: Path, tmp_path: Path
) -> None:
    (tmp_path / "out/manifest/key.txt").write_text("00" * 32 + "\n")
    (tmp_path / "out/manifest/review.json").write_text("{}")
    (tmp_path / "out/README.md").write_text("# Card\n")
    (tmp_path / "out/card.toml").write_text("# answers\n")
    told: list[str] = []
    (tmp_path / "out/manifest/SHA256SUMS.sig").write_text("signature")
    done = blur(source, tmp_path / "out", second, update=True, notify=told.append)
    assert (tmp_path / "out/manifest/key.txt").read_text() == "00" * 32 + "\n"
    assert f"Images that differ from the output before: 1 of {len(names(source))}." in told
    out = shlex.quote(str(tmp_path / "out"))
    assert done.to_text().splitlines()[-2:] == [
        "Of the output before the update, to be made again: README.md, manifest/review.json, "
        "manifest/SHA256SUMS.sig.",
        f"Next: curate card {out}, then curate manifest checksum {out} --sign KEY, then "
        f"curate verify {out}",
    ]
    assert (tmp_path / "out/card.toml").read_text() == "# answers\n"
    assert (tmp_path / "out/README.md").is_file()
