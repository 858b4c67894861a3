"""What editing must keep in every layout; an example of a layout is a file in tests/layouts."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from curate.core.errors import DataError
from curate.core.protocols import iter_containers
from curate.layouts import LAYOUTS, open_source
from curate.layouts.containers import ContainerLayout
from curate.layouts.editing import EDITORS, REBUILDERS, Outcome, name_copy, open_editor
from tests.layouts.editing.outputs import Plan, edit, mirror, plan_for
from tests.layouts.examples.example import load_examples

EXAMPLES = load_examples()
IMAGES = [(layout, record_id) for layout, found in EXAMPLES.items() for record_id in found.splits]
REFUSED = {"train/a.jpg": "'boxes'", "train/deep/b.png": "'boxes'", "test/c.jpg": "'boxes'"}
REFUSED |= {"train2017/a.jpg": "do not distinguish left and right"}
"""Images whose annotations cannot be mirrored, and what is said of them."""
TABLES = ("parquet", "arrow")
SINGLE = [
    (layout, record_id)
    for layout, record_id in IMAGES
    # Images of a sample of several, and of panoptic maps, are not made.
    if record_id not in ("train-0000.tar/a.png", "train-0000.tar/a.seg.png", "val2017/c.jpg")
]


def build(layout: str, folder: Path) -> Path:
    root = folder / "source"
    root.mkdir()
    EXAMPLES[layout].build(root)
    return root


def content(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def count(layout: str, root: Path) -> int:
    return len(list(open_source(str(root), layout).records()))


def test_every_layout_can_be_edited() -> None:
    assert set(EDITORS) == set(LAYOUTS) == set(EXAMPLES)
    sources = {name: LAYOUTS.resolve(name) for name in LAYOUTS}
    held = {name for name, kind in sources.items() if issubclass(kind, ContainerLayout)}
    assert set(REBUILDERS) == held


@pytest.mark.parametrize("layout", EXAMPLES)
def test_without_edits_every_file_is_the_same(layout: str, tmp_path: Path) -> None:
    root = build(layout, tmp_path)
    done = edit(root, tmp_path / "out", Plan())
    assert set(done.results.values()) == {Outcome.SAME}
    assert done.notes == {}
    assert done.new == []
    source = open_source(str(root))
    rebuilt = {}
    for container in iter_containers(source):
        target = io.BytesIO()
        list(source.rebuild(container, lambda name: source.read(source.find(name)), target))
        rebuilt[container] = target.getvalue()
    assert content(tmp_path / "out") == content(root) | rebuilt
    if rebuilt:
        assert done.placed == {name: name for name in EXAMPLES[layout].splits}


@pytest.mark.parametrize(("layout", "record_id"), IMAGES)
def test_nothing_of_a_removed_image_is_left(layout: str, record_id: str, tmp_path: Path) -> None:
    root, out = build(layout, tmp_path), tmp_path / "out"
    edit(root, out, Plan(removed=frozenset({record_id})))
    left = open_source(str(out), layout)
    assert list(left.check()) == []
    splits = EXAMPLES[layout].splits
    assert count(layout, out) == len(splits) - 1
    if list(splits.values()).count(splits[record_id]) > 1:  # readers refuse a split without images
        EXAMPLES[layout].load(out)
    if layout not in TABLES:  # their rows have no names
        assert left.find(record_id) is None
        name = record_id.rpartition("/")[2].encode()
        stem = name.rpartition(b".")[0]
        for path, data in content(out).items():
            assert name not in data, path
            assert layout != "voc" or stem not in data, path


@pytest.mark.parametrize("layout", EXAMPLES)
def test_all_images_of_a_split_can_be_removed(layout: str, tmp_path: Path) -> None:
    root, out = build(layout, tmp_path), tmp_path / "out"
    splits = EXAMPLES[layout].splits
    gone = frozenset(name for name, split in splits.items() if split == "train")
    edit(root, out, Plan(removed=gone))
    assert count(layout, out) == len(splits) - len(gone)
    assert all(record.split != "train" for record in open_source(str(out), layout).records())


@pytest.mark.parametrize(("layout", "record_id"), SINGLE)
def test_a_repeated_image_has_all_that_its_source_has(
    layout: str, record_id: str, tmp_path: Path
) -> None:
    root, out = build(layout, tmp_path), tmp_path / "out"
    plan, files = plan_for(root, {record_id: [None, None]})
    done = edit(root, out, plan, files)
    after = open_source(str(out), layout)
    assert list(after.check()) == []
    assert count(layout, out) == len(EXAMPLES[layout].splits) + 2
    EXAMPLES[layout].load(out)
    source = open_source(str(root))
    record = source.find(record_id)
    assert record is not None
    for made in plan.made[record_id]:
        new = after.find(done.placed.get(made.id, made.id))
        assert new is not None
        assert (new.split, new.category) == (record.split, record.category)
        assert after.read(new) == source.read(record)
    for name in EXAMPLES[layout].splits:
        old = source.find(name)
        kept = after.find(done.placed.get(name, name))
        assert old is not None
        assert kept is not None
        assert after.read(kept) == source.read(old)


@pytest.mark.parametrize(("layout", "record_id"), SINGLE)
def test_an_image_can_be_removed_and_its_mirror_image_kept_or_refused(
    layout: str, record_id: str, tmp_path: Path
) -> None:
    root, out = build(layout, tmp_path), tmp_path / "out"
    wide, high = (48, 40) if files_are_jpeg(root, record_id) else (40, 32)
    plan, files = plan_for(root, {record_id: [mirror(wide, high)]})
    plan.removed = frozenset({record_id})
    if record_id in REFUSED:
        with pytest.raises(DataError, match=REFUSED[record_id]):
            edit(root, out, plan, files)
        return
    done = edit(root, out, plan, files)
    after = open_source(str(out), layout)
    assert list(after.check()) == []
    assert count(layout, out) == len(EXAMPLES[layout].splits)
    EXAMPLES[layout].load(out)
    [made] = plan.made[record_id]
    new = after.find(done.placed.get(made.id, made.id))
    assert new is not None
    assert after.read(new) == files[made.id]


def files_are_jpeg(root: Path, record_id: str) -> bool:
    source = open_source(str(root))
    record = source.find(record_id)
    assert record is not None
    return source.read(record).startswith(b"\xff\xd8")


@pytest.mark.parametrize("layout", EXAMPLES)
def test_the_order_of_the_calls_changes_nothing(layout: str, tmp_path: Path) -> None:
    root = build(layout, tmp_path)
    makable = next(record_id for found, record_id in SINGLE if found == layout)
    removed = next(name for name in EXAMPLES[layout].splits if name != makable)
    plan, _ = plan_for(root, {makable: [None]})
    plan.removed = frozenset({removed})
    source = open_source(str(root))
    others = [other for other in source.sidecars() if other.copied]

    def run(order: list[int]) -> dict[str, tuple[str, bytes]]:
        editor, found = open_editor(source, plan), {}
        for number in order:
            target = io.BytesIO()
            result = editor.edit(others[number], target)
            data = target.getvalue() if result.outcome is Outcome.EDITED else b""
            found[str(others[number].path)] = (str(result), data)
        return found

    places = list(range(len(others)))
    assert run(places) == run(places[::-1])


@pytest.mark.parametrize(("layout", "record_id"), IMAGES)
def test_names_of_copies_are_free_and_in_the_folder_of_their_source(
    layout: str, record_id: str, tmp_path: Path
) -> None:
    source = open_source(str(build(layout, tmp_path)))
    record = source.find(record_id)
    assert record is not None
    names = [name_copy(source, record, number, ".png") for number in (1, 2)]
    assert len({record_id, *names}) == 3
    for name in names:
        assert source.find(name) is None
        assert name.rpartition("/")[0] == record_id.rpartition("/")[0]
