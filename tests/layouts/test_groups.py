from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.core.errors import DataError
from curate.layouts.groups import id_of, load_groups, match_groups

WANT = {"a.jpg": {"tone": "VI", "site": "1"}, "b.jpg": {"tone": "I"}}


def test_all_table_formats_give_the_same_rows(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("\ufeffid,tone,site\na.jpg,VI,1\nb.jpg,I,\n")
    (tmp_path / "t.tsv").write_text("tone\tid\tsite\nVI\ta.jpg\t1\nI\tb.jpg\t\n")
    (tmp_path / "t.jsonl").write_text(
        '{"id": "a.jpg", "tone": "VI", "site": 1}\n\n{"id": "b.jpg", "tone": "I", "site": null}\n'
    )
    columns = {"id": ["a.jpg", "b.jpg"], "tone": ["VI", "I"], "site": [1, None]}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    for path in tmp_path.iterdir():
        assert load_groups(path) == WANT, path


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "t.csv",
            "name,tone\na,b\n",
            "no column of ids, such as id or file_name; it has: name",
        ),
        ("t.csv", "id,tone\na,b\na,c\n", "the id 'a' is duplicated"),
        ("t.csv", "id,tone\na\n", "line 2, does not have as many fields"),
        ("t.csv", "id,tone\na,b,c\n", "line 2, does not have as many fields"),
        ("t.csv", 'id,tone\na,"b\n', "cannot be read as a table"),
        ("t.jsonl", "{\n", "line 1, is not valid JSON"),
        ("t.jsonl", "[]\n", "line 1: expected an object"),
        ("t.xlsx", "PK", "not a supported table"),
        ("t.parquet", "PAR1 and no more", "cannot be read as a table"),
    ],
)
def test_an_invalid_table_is_one_clear_line(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        load_groups(path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_invalid_utf_8_is_one_clear_line(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"id,tone\na,\xff\n")
    with pytest.raises(DataError, match="is not UTF-8 text"):
        load_groups(path)


def test_semicolons_separate_values_with_commas(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id;tone;score\na;dark;0,5\nb;light;1,5\n")
    groups = load_groups(tmp_path / "t.csv")
    assert groups == {
        "a": {"tone": "dark", "score": "0,5"},
        "b": {"tone": "light", "score": "1,5"},
    }


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("column", ["file", "File", "FILENAME"])
def test_csv_tables_as_spreadsheets_write_them(
    column: str, separator: str, encoding: str, tmp_path: Path
) -> None:
    table = tmp_path / "people.csv"
    rows = [[column, "sex"], ["a.jpg", "f"], ["ü.jpg", "m"]]
    table.write_text("\r\n".join(map(separator.join, rows)), encoding=encoding)
    assert load_groups(table) == {"a.jpg": {"sex": "f"}, "ü.jpg": {"sex": "m"}}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_json_tables_may_have_a_byte_order_mark(encoding: str, tmp_path: Path) -> None:
    table = tmp_path / "people.jsonl"
    table.write_text('{"file": "ü.jpg", "sex": "f"}\n', encoding=encoding)
    assert load_groups(table) == {"ü.jpg": {"sex": "f"}}


def test_ids_with_backslashes_are_paths() -> None:
    assert id_of({"id": ".\\train\\a.jpg"}, "id", Path("t.csv"), 1) == "train/a.jpg"


def write_table(path: Path, ids: Sequence[str]) -> Path:
    path.write_text("id;age\n" + "".join(f"{name};{number}\n" for number, name in enumerate(ids)))
    return path


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (["a/x.jpg", "b/y.png"], {"a/x.jpg": "0", "b/y.png": "1"}),
        (["a\\x.jpg", ".\\b\\y"], {"a/x.jpg": "0", "b/y.png": "1"}),
        (["x", "y"], {"a/x.jpg": "0", "b/y.png": "1"}),
        (["a/x", "y.png"], {"a/x.jpg": "0", "b/y.png": "1"}),
        (["z", "x"], {"a/x.jpg": "1"}),  # two images are named z
        (["c/z", "z"], {"c/z.jpg": "0", "d/z.jpg": "1"}),
    ],
)
def test_ids_of_a_table_match_without_suffix_or_folders(
    tmp_path: Path, ids: list[str], expected: dict[str, str]
) -> None:
    table = write_table(tmp_path / "t.csv", ids)
    images = ["a/x.jpg", "b/y.png", "c/z.jpg", "d/z.jpg"]
    found = match_groups(load_groups(table), images, table)
    assert {name: values["age"] for name, values in found.items()} == expected


def test_a_table_of_other_images_is_refused(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv", ["q", "r"])
    with pytest.raises(DataError, match=r"none of the 2 ids .*'q', is an image"):
        match_groups(load_groups(table), ["a.jpg"], table)
