from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from curate.core.errors import DataError
from curate.core.protocols import SidecarFile
from curate.layouts import open_source
from curate.layouts.editing import EditResult, Outcome, open_editor
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


BLOCKS = {
    "wider": "0--Parade/a.jpg\n2\n1 2 3 4 0 0\n5 6 7 8 0 0\nb.jpg\n1\n1 2 3 4 0 0\n",
    "retinaface": "# 0--Parade/a.jpg\n449 330 122 149 488.9 373.6\n# b.jpg\n1 2 3 4 5 6\n",
    "counts": "a.jpg\n1\n0.5 0.5 1 1\nb.jpg\n0\n",
    "fddb": "0--Parade/a\n1\n67.3 44.5 -1.4 105.2  1\nx/missing\n1\n67.3 44.5 -1.4 105.2  1\n",
}
LISTS = {
    "captions": ("a.jpg#0\tA man\na.jpg#1\tA man on a horse\nb.jpg#0\tA dog\n", "b.jpg#0\tA dog\n"),
    "attributes": ("2\nMale Young\na.jpg -1 1\nb.jpg 1 1\n", "2\nMale Young\nb.jpg 1 1\n"),
    "missing": ("a.jpg 1\nnone.jpg 2\nx/none.png\n# c\nb.jpg 3\n", None),
    "stems": ("0--Parade/a\nx/missing\n", "x/missing\n"),
    "leading": ("/0--Parade/a.jpg 1\n/b.jpg 2\n", "/b.jpg 2\n"),
}


def faces(root: Path, name: str, text: str) -> Path:
    write(root, "train/0--Parade/a.jpg", jpeg(1))
    write(root, "train/b.jpg", jpeg(2))
    write(root, f"list/{name}", text)
    return root


def edit_one(root: Path, name: str, plan: Plan) -> tuple[EditResult, str]:
    source, target = open_source(str(root), "imagefolder"), io.BytesIO()
    [file] = [other for other in source.sidecars() if str(other.path) == name]
    return open_editor(source, plan).edit(file, target), target.getvalue().decode()


@pytest.mark.parametrize("name", BLOCKS)
def test_a_text_whose_records_span_lines_is_refused_if_it_names_a_removed_image(
    name: str, tmp_path: Path
) -> None:
    root = faces(tmp_path, "gt.txt", BLOCKS[name])
    removed = Plan(removed=frozenset({"train/0--Parade/a.jpg"}))
    result, _ = edit_one(root, "list/gt.txt", removed)
    assert result.outcome is Outcome.REFUSED
    assert "not one line per image" in str(result.note)
    result, _ = edit_one(root, "list/gt.txt", Plan())
    assert (result.outcome, result.format) == (Outcome.SAME, "")


@pytest.mark.parametrize("suffix", ["txt", "token"])
@pytest.mark.parametrize("name", LISTS)
def test_a_text_with_a_line_per_image_loses_those_of_removed_ones(
    name: str, suffix: str, tmp_path: Path
) -> None:
    before, after = LISTS[name]
    root = faces(tmp_path, f"x.{suffix}", before)
    plan = Plan(removed=frozenset({"train/0--Parade/a.jpg"}))
    result, text = edit_one(root, f"list/x.{suffix}", plan)
    assert result.outcome is Outcome.EDITED
    assert text == (before.replace("a.jpg 1\n", "") if after is None else after)


@pytest.mark.parametrize(
    "header", ["ImageID", "ImageId", "id_code", "image_name", "Image Name", "image-id", "photo_id"]
)
def test_tables_are_keyed_by_stems_under_many_names(header: str, tmp_path: Path) -> None:
    root = faces(tmp_path, "x.csv", f"{header},age\na,30\nb,40\n")
    plan = Plan(removed=frozenset({"train/0--Parade/a.jpg"}))
    result, text = edit_one(root, "list/x.csv", plan)
    assert result.outcome is Outcome.EDITED
    assert text == f"{header},age\nb,40\n"


def test_lines_that_start_with_numbers_are_noted(tmp_path: Path) -> None:
    root = faces(tmp_path, "images.txt", "1 0--Parade/a.jpg\n2 b.jpg\n")
    plan = Plan(removed=frozenset({"train/0--Parade/a.jpg"}))
    result, text = edit_one(root, "list/images.txt", plan)
    assert text == "2 b.jpg\n"
    assert "other files may still name the removed images by the numbers" in str(result.note)


@pytest.mark.parametrize(
    ("stem", "text"),
    [
        ("1005649", "apple_pie: 1005649\n"),
        ("000123", "[000123, 000124]"),
        ("1000", "x 1000.jpg#0 a man"),
    ],
)
def test_numbers_and_captions_that_name_removed_images_are_noted(
    stem: str, text: str, tmp_path: Path
) -> None:
    write(tmp_path, f"x/{stem}.jpg", jpeg(1))
    write(tmp_path, "b.jpg", jpeg(2))
    write(tmp_path, "meta.json", text)
    assert "may name 1 removed image" in str(notes(tmp_path, f"x/{stem}.jpg")["meta.json"])
    assert notes(tmp_path, "b.jpg")["meta.json"] is None


@pytest.mark.parametrize(
    ("image", "file"),
    [
        ("training/image_2/000001.png", "training/label_2/000001.txt"),
        ("images/a.jpg", "annotations/a.xml"),
        ("pets/images/a.jpg", "pets/annotations/xmls/a.xml"),
        ("Images/n1-dog/n1_7.jpg", "Annotation/n1-dog/n1_7"),
        ("images/train/a.jpg", "labelTxt/train/a.txt"),
    ],
)
def test_files_in_a_mirrored_folder_go_with_their_image(
    image: str, file: str, tmp_path: Path
) -> None:
    write(tmp_path, image, png(1))
    write(tmp_path, f"testing/{image}", png(2))
    write(tmp_path, file, "a dog")
    assert edit_one(tmp_path, file, Plan())[0].outcome is Outcome.SAME
    plan = Plan(removed=frozenset({image}))
    assert edit_one(tmp_path, file, plan)[0].outcome is Outcome.DROPPED
    plan, _ = plan_for(tmp_path, {image: [None]}, "imagefolder")
    source = open_source(str(tmp_path), "imagefolder")
    [new] = open_editor(source, plan, includes=lambda path: True).iter_new()
    made = plan.made[image][0].id
    assert Path(new.path) == Path(file).with_name(Path(made).stem + Path(file).suffix)
    assert new.format == ""


@pytest.mark.parametrize(
    ("images", "file"),
    [
        (["image_2/1.png", "image_3/1.png"], "label_2/1.txt"),  # of two
        (["cat/1.jpg", "dog/2.jpg"], "dog/1.txt"),  # beside other images
        (["a/b/c/1.jpg"], "x/y/z/1.txt"),
    ],
)
def test_other_files_do_not(images: list[str], file: str, tmp_path: Path) -> None:
    for image in images:
        write(tmp_path, image, png(1))
    write(tmp_path, file, "a dog")
    plan = Plan(removed=frozenset(images[:1]))
    assert edit_one(tmp_path, file, plan)[0].outcome is Outcome.SAME
