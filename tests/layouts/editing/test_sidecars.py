from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from curate.core.errors import DataError
from curate.core.protocols import SidecarFile
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
    [
        "n-a.jpg,a.jpg;",
        '{"file": "x\\\\a.jpg"}',
        "<f>a.jpg</f>",
        "'a.jpg'",
        "n;a.jpg;",
        "(é/a.jpg)",
    ],
)
def test_a_file_that_names_a_removed_image_is_noted(tmp_path: Path, text: str) -> None:
    write(tmp_path, "x/a.jpg", b"")
    write(tmp_path, "b.jpg", b"")
    write(tmp_path, "labels.txt", text)
    line = "it is copied unchanged and may name 1 removed image, such as 'a.jpg'"
    assert notes(tmp_path, "x/a.jpg") == {"labels.txt": line}
    assert notes(tmp_path, "b.jpg") == {"labels.txt": None}
    assert notes(tmp_path) == {"labels.txt": None}


@pytest.mark.parametrize(
    ("text", "first", "count"),
    [
        ("People: jane-doe, john_roe.", "jane-doe", 2),
        ("**jane-doe**", "jane-doe", 1),
        ('{"by_name": {"jane-doe": 1}}', "jane-doe", 1),
        ('{"by_name": {"mary ann": 1}, "b": "mary ann.png"}', "mary ann", 1),
        ("a,mary ann,3\n", "mary ann", 1),
        ("photos of mary ann\n", None, 0),  # inside a sentence names with spaces are not found
        ("jane-doe-smith and kept-one", None, 0),
        ("1234 5678", None, 0),  # numbers name nothing
    ],
)
@pytest.mark.parametrize("name", ["README.md", "notes.json"])
def test_names_without_a_suffix_are_found_and_counted(
    text: str, first: str | None, count: int, name: str, tmp_path: Path
) -> None:
    removed = ("jane-doe.png", "john_roe.png", "mary ann.png", "1234.png", "x/kept-one.png")
    for path in (*removed, "kept-one.png"):
        write(tmp_path, path, b"")
    write(tmp_path, name, text)
    line = f"may name {count} removed image{'s' * (count > 1)}, such as {first!r}"
    found = notes(tmp_path, *removed)[name]
    assert found is None if first is None else line in str(found)
    assert notes(tmp_path)[name] is None


def test_an_edited_file_that_still_names_removed_images_is_noted(tmp_path: Path) -> None:
    for name in ("jane-doe", "john_roe", "kept"):
        write(tmp_path, f"{name}.png", b"")
    rows = [
        {"file_name": "jane-doe.png", "similar": "kept.png"},
        {"file_name": "kept.png", "similar": "jane-doe.png", "caption": "with john_roe"},
    ]
    write(tmp_path, "metadata.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    source = open_source(str(tmp_path), "hf_folder")
    removed = frozenset({"jane-doe.png", "john_roe.png"})
    [other] = source.sidecars()
    edited = io.BytesIO()
    result = open_editor(source, Plan(removed=removed)).edit(other, edited)
    assert result.outcome is Outcome.EDITED
    assert result.note == "it may name 2 removed images, such as 'jane-doe.png'"
    assert edited.getvalue().count(b"\n") == 1


def test_a_name_at_a_block_boundary_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mentions, "_BLOCK", 100)
    write(tmp_path, "picture.jpg", b"")
    for pad in range(85, 105):
        write(tmp_path, "labels.txt", "x" * (pad - 1) + "'picture.jpg'" + "y" * 300)
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


TABLES = {
    "csv": "file,age\nx/a.jpg,3\nc.jpg,4\nother,5\n",
    "semicolon.csv": 'file;note\n"x/a.jpg";"two\nlines"\nc.jpg;"one; line"\n',
    "stems.csv": "id,age\nx/a,3\nc,4\na dog,5\n",
    "windows.csv": "image,age\r\nx\\a.jpg,3\r\nc.jpg,4\r\n",
    "tsv": "age\tfile\n3\ta.jpg\n4\tc.jpg\n",
    "jsonl": '{"file": "x/a.jpg", "n": [1]}\n{"image": {"id": "c"}}\n\n',
    "txt": "photos/x/a.jpg 3\nc.jpg 4",
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_lose_the_rows_of_removed_images_and_get_rows_of_copies(
    name: str, tmp_path: Path
) -> None:
    root = captions(tmp_path)
    write(root, f"table.{name}", TABLES[name])
    plan, _ = plan_for(root, {"c.jpg": [None]}, "imagefolder")
    plan.removed = frozenset({"x/a.jpg"})
    edited = edit_table(root, f"table.{name}", plan)
    assert "a.jpg" not in edited
    assert "x/a" not in edited
    rows = edited.splitlines()
    [first, second] = [row for row in rows if "c.jpg" in row or "c_aug1" in row or row[:2] == "c,"
                       or '"c"' in row]  # fmt: skip
    assert second == first.replace("c.jpg", "c_aug1.jpg").replace('"c"', '"c_aug1"').replace(
        "c,", "c_aug1,"
    )
    untouched = edit_table(root, f"table.{name}", Plan())
    assert untouched == TABLES[name]


def edit_table(root: Path, name: str, plan: Plan) -> str:
    source = open_source(str(root), "imagefolder")
    target = io.BytesIO()
    [file] = [
        SidecarFile(other.path, other.uri, True)
        for other in source.sidecars()
        if str(other.path) == name
    ]
    result = open_editor(source, plan).edit(file, target)
    if result.outcome is Outcome.SAME:
        return (root / name).read_bytes().decode()
    return target.getvalue().decode()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("boxes.csv", "file,xmin,ymin\nc.jpg,3,4\n"),
        ("boxes.csv", "file;x;y\nc.jpg;3;4\n"),
        ("boxes.tsv", "file\tbbox\nc.jpg\t3 4 5 6\n"),
        ("boxes.jsonl", '{"file": "c.jpg", "bbox": [3, 4, 5, 6]}\n'),
        ("boxes.txt", "c.jpg 3 4 5 6\n"),
    ],
)
def test_a_row_with_coordinates_is_copied_only_with_its_geometry(
    name: str, content: str, tmp_path: Path
) -> None:
    root = captions(tmp_path)
    write(root, name, content)
    plan, _ = plan_for(root, {"c.jpg": [mirror(48, 40)]}, "imagefolder")
    with pytest.raises(DataError, match=f"'{name}' may contain coordinates"):
        edit_table(root, name, plan)
    plan, _ = plan_for(root, {"c.jpg": [None]}, "imagefolder")
    assert edit_table(root, name, plan).count("c_aug1.jpg") == 1


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", "file,age\nx/c.jpg,30\n"), ("a.txt", "c.jpg 3\n"), ("a.csv", "file,age\nc.jpg,3\n")],
)
def test_a_row_without_coordinates_is_copied_with_any_geometry(
    name: str, content: str, tmp_path: Path
) -> None:
    root = captions(tmp_path)
    write(root, name, content)
    plan, _ = plan_for(root, {"c.jpg": [mirror(48, 40)]}, "imagefolder")
    assert edit_table(root, name, plan).count("c_aug1.jpg") == 1


@pytest.mark.parametrize(
    ("name", "content", "first"),
    [
        ("ages.csv", "id,age\n1,30\n2,40\n", "'1' in row 2"),
        ("ages.tsv", "file\tage\n2.jpg\t40\n1.jpg\t30\n", "'1.jpg' in row 3"),
        ("ages.jsonl", '{"id": "2", "age": 40}\n{"id": "1", "age": 30}\n', "'1' in row 2"),
        ("ages.txt", "2.jpg 40\n1.jpg 30\n", "'1.jpg' in row 2"),
    ],
)
def test_a_row_of_several_images_is_removed_with_the_last_and_noted_before(
    name: str, content: str, first: str, tmp_path: Path
) -> None:
    for path in ("cat/1.jpg", "dog/1.jpg", "cat/2.jpg", "dog/2.jpg"):
        write(tmp_path, path, b"")
    write(tmp_path, name, content)

    def edited(*removed: str) -> tuple[str, str | None]:
        source, target = open_source(str(tmp_path), "imagefolder"), io.BytesIO()
        [file] = source.sidecars()  # type: ignore[attr-defined]
        plan = Plan(removed=frozenset(removed))
        result = open_editor(source, plan).edit(file, target)
        same = result.outcome is Outcome.SAME
        return content if same else target.getvalue().decode(), result.note

    assert edited() == (content, None)
    text, note = edited("cat/1.jpg")
    assert text == content
    assert note is not None
    assert "1 row" in note
    assert note.endswith(f"such as {first}")
    text, note = edited("cat/1.jpg", "dog/1.jpg")
    assert note is None
    assert "30" not in text
    assert "40" in text


@pytest.mark.parametrize("row", ["1.jpg,2.jpg", "2.jpg,1.jpg"])
def test_a_row_of_which_any_value_names_removed_images_only_is_removed(
    row: str, tmp_path: Path
) -> None:
    for path in ("cat/1.jpg", "dog/1.jpg", "cat/2.jpg", "dog/2.jpg"):
        write(tmp_path, path, b"")
    write(tmp_path, "pairs.csv", f"first,second\n{row}\n")
    source, target = open_source(str(tmp_path), "imagefolder"), io.BytesIO()
    [file] = source.sidecars()  # type: ignore[attr-defined]
    plan = Plan(removed=frozenset({"cat/1.jpg", "cat/2.jpg", "dog/2.jpg"}))
    result = open_editor(source, plan).edit(file, target)
    assert (target.getvalue(), result.note) == (b"first,second\n", None)
