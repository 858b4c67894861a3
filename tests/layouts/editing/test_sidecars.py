from __future__ import annotations

import io
from pathlib import Path

import pytest

from curate.core.errors import DataError
from curate.layouts import open_source
from curate.layouts.editing import Outcome, open_editor
from curate.layouts.editing import sidecars as mentions
from tests.layouts.editing.outputs import Plan, edit, mirror, plan_for
from tests.layouts.examples.example import jpeg, png, write


def notes(root: Path, *removed: str) -> dict[str, str | None]:
    source = open_source(str(root), "imagefolder")
    editor = open_editor(source, Plan(removed=frozenset(removed)))
    found = {}
    for other in source.sidecars():
        result = editor.edit(other, io.BytesIO())
        assert result.outcome is Outcome.SAME
        found[str(other.path)] = result.note
    return found


@pytest.mark.parametrize(
    "text",
    ["x/a.jpg,3", '{"file": "x\\\\a.jpg"}', "<f>a.jpg</f>", "'a.jpg'", "n;a.jpg;", "é/a.jpg\t"],
)
def test_a_file_that_names_a_removed_image_is_noted(tmp_path: Path, text: str) -> None:
    write(tmp_path, "x/a.jpg", b"")
    write(tmp_path, "b.jpg", b"")
    write(tmp_path, "labels.txt", text)
    line = "it is copied unchanged and may name removed images, such as 'a.jpg'"
    assert notes(tmp_path, "x/a.jpg") == {"labels.txt": line}
    assert notes(tmp_path, "b.jpg") == {"labels.txt": None}
    assert notes(tmp_path) == {"labels.txt": None}


def test_a_name_at_a_block_boundary_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mentions, "_BLOCK", 100)
    write(tmp_path, "picture.jpg", b"")
    for pad in range(85, 105):
        write(tmp_path, "labels.txt", "x" * (pad - 1) + " picture.jpg " + "y" * 300)
        assert notes(tmp_path, "picture.jpg")["labels.txt"], pad


def test_a_compressed_table_is_noted(tmp_path: Path) -> None:
    write(tmp_path, "a.jpg", b"")
    write(tmp_path, "labels.parquet", b"")
    assert notes(tmp_path) == {"labels.parquet": None}
    assert "may name images that were removed" in str(notes(tmp_path, "a.jpg")["labels.parquet"])


def captions(root: Path) -> Path:
    for name in ("x/a", "x/b", "c"):
        write(root, f"source/{name}.jpg", jpeg(len(name)))
        write(root, f"source/{name}.txt", f"a dog in {name}, 3 years old\n")
    write(root, "source/x/b.png", png(3))  # b.txt may belong to either
    write(root, "source/classes.txt", "dog\n")
    return root / "source"


def texts(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*.txt")}


def test_files_with_the_stem_of_an_image_are_removed_and_copied_with_it(tmp_path: Path) -> None:
    root, out = captions(tmp_path), tmp_path / "out"
    plan, files = plan_for(root, {"c.jpg": [None, mirror(48, 40)], "x/a.jpg": [None]})
    plan.removed = frozenset({"x/a.jpg", "x/b.jpg"})
    edit(root, out, plan, files)
    before, after = texts(root), texts(out)
    assert after == {
        "c.txt": before["c.txt"],
        "c_aug1.txt": before["c.txt"],
        "c_aug2.txt": before["c.txt"],
        "x/a_aug1.txt": before["x/a.txt"],
        "x/b.txt": before["x/b.txt"],
        "classes.txt": before["classes.txt"],
    }


@pytest.mark.parametrize(
    ("name", "content"),
    [("c.json", '{"x": 1}'), ("c.txt", "0 0.5 0.5 0.1 0.1\n"), ("c.xml", "<a/>")],
)
def test_a_file_that_may_contain_coordinates_is_copied_only_with_its_geometry(
    name: str, content: str, tmp_path: Path
) -> None:
    root = captions(tmp_path)
    write(root, name, content)
    plan, files = plan_for(root, {"c.jpg": [None]}, "imagefolder")
    edit(root, tmp_path / "out", plan, files, "imagefolder")
    stem, _, suffix = name.partition(".")
    assert (tmp_path / f"out/{stem}_aug1.{suffix}").read_text() == content
    plan, files = plan_for(root, {"c.jpg": [mirror(48, 40)]}, "imagefolder")
    with pytest.raises(DataError, match=f"'{name}' may contain coordinates"):
        edit(root, tmp_path / "again", plan, files, "imagefolder")
