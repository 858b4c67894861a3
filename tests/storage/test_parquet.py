from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curate.core.errors import DataError
from curate.layouts import open_source
from curate.storage import cells, parquet
from curate.storage.parquet import iter_table_rows
from curate.storage.thrift import walk

ROWS: list[dict[str, Any]] = [
    {"id": "a", "text": "x", "count": 1, "list": ["p", "q"], "bytes": b"1", "flag": True},
    {"id": "b", "text": None, "count": None, "list": [], "bytes": None, "flag": False},
    {"id": "c", "text": "x", "count": 3, "list": None, "bytes": b"1", "flag": None},
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet", row_group_size=2)
    return tmp_path / "a.parquet"


def test_rows_are_those_of_the_table(path: Path) -> None:
    names = ("list", "id", "text", "count", "bytes", "flag", "absent")
    assert list(iter_table_rows(path, names)) == ROWS
    assert list(iter_table_rows(path, ("text", "id"))) == [
        {"id": row["id"], "text": row["text"]} for row in ROWS
    ]


def test_nested_columns_are_read_only_by_name(path: Path) -> None:
    plain = [{key: value for key, value in row.items() if key != "list"} for row in ROWS]
    assert list(iter_table_rows(path)) == plain


@pytest.mark.parametrize("dictionary", [True, False])
def test_categories_and_plain_texts_are_alike(dictionary: bool, tmp_path: Path) -> None:
    table = pa.table({"id": ["a", "b"], "kind": pa.array(["x", "x"]).dictionary_encode()})
    pq.write_table(table, tmp_path / "a.parquet", use_dictionary=dictionary)
    rows = list(iter_table_rows(tmp_path / "a.parquet"))
    assert rows == [{"id": "a", "kind": "x"}, {"id": "b", "kind": "x"}]


@pytest.mark.parametrize("nested", ["list", "struct"])
def test_row_groups_with_nested_texts_are_read_in_turn(nested: str, tmp_path: Path) -> None:
    """Arrow cannot join the dictionaries of nested texts across row groups."""
    wrap = (lambda text: [text]) if nested == "list" else (lambda text: {"text": [text]})
    rows = [{"id": str(n), "nested": wrap(f"text {n // 2}")} for n in range(10)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet", row_group_size=3)
    assert list(iter_table_rows(tmp_path / "a.parquet", ("id", "nested"))) == rows
    with (tmp_path / "a.parquet").open("rb") as file:
        parquet.check_texts(file, ("id", "nested"), "a.parquet", 100)


@pytest.mark.parametrize(
    ("limit", "message"),
    [("_MAX_CHUNK", "MB in one row group"), ("_MAX_ITEMS", "items"), ("_MAX_COLUMNS", "6 columns")],
)
def test_what_is_too_large_is_one_clear_line(
    limit: str, message: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, limit, 1)
    with pytest.raises((DataError, pa.ArrowInvalid), match=message):
        list(iter_table_rows(path, ("id", "list")))


def test_a_long_text_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": ["a", "A" * (1 << 20), "A" * 2]}), tmp_path / "a.parquet")
    assert len(list(iter_table_rows(tmp_path / "a.parquet"))) == 3
    pq.write_table(pa.table({"id": ["a", "A" * ((1 << 20) + 1)]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="1,048,577 bytes; at most 1,048,576"):
        list(iter_table_rows(tmp_path / "a.parquet"))


@pytest.mark.parametrize("kind", ["numbers", "texts", "repeated text"])
def test_neighboring_large_rows_are_read_one_by_one(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are read together by their average size; three of these are too large together."""
    monkeypatch.setattr(cells, "MAX_CELLS", 1000)
    monkeypatch.setattr(cells, "MAX_NESTED_TEXT", 9000)
    large = {
        "numbers": list(range(900)),
        "texts": [f"{number:08d}" * 10 for number in range(100)],
        "repeated text": ["x" * 80] * 100,
    }[kind]
    rows = [{"id": str(n), "list": large if 40 < n < 44 else large[:1]} for n in range(100)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    assert list(iter_table_rows(tmp_path / "a.parquet", ("id", "list"))) == rows
    with (tmp_path / "a.parquet").open("rb") as file:
        parquet.check_texts(file, ("id", "list"), "a.parquet", 100)
    rows[42] = {"id": "42", "list": large * 2}
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="in 1 rows, and at most"):
        list(iter_table_rows(tmp_path / "a.parquet", ("id", "list")))


def test_neighboring_large_rows_of_metadata_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cells, "MAX_CELLS", 1000)
    rows = [{"file_name": f"{n}.png", "points": list(range(900))} for n in range(4)]
    for row in rows:
        Image.new("RGB", (8, 8)).save(tmp_path / str(row["file_name"]))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "metadata.parquet")
    found = dict(open_source(str(tmp_path), "hf_folder").annotations(("points",)))
    assert found == {row["file_name"]: row for row in rows}


@pytest.mark.parametrize("kind", ["long ids", "long values", "lists", "columns"])
def test_a_small_table_cannot_expand_to_any_size(kind: str, tmp_path: Path) -> None:
    count = 400_000
    one = pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), ["x" * 4000])
    ids = pa.array([str(number % 2) for number in range(count)])
    flags = pa.array([True] * count)
    lists = pa.array([["y" * 400] * 2] * 40_000)
    columns = {
        "long ids": {"id": one},
        "long values": {"id": ids, "text": one},
        "lists": {"id": ids.slice(0, 40_000), "list": lists},
        "columns": {"id": ids, **{f"flag{n}": flags for n in range(100)}},
    }[kind]
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(columns), path)
    assert path.stat().st_size < 1 << 20
    names = list(columns)
    if kind == "lists":  # within the limit
        assert sum(1 for _ in iter_table_rows(path, names)) == 40_000
        return
    with pytest.raises(DataError, match=r"a\.parquet: its rows repeat values to more than 256 MB"):
        deque(iter_table_rows(path, names), maxlen=0)
    with path.open("rb") as file, pytest.raises(DataError, match=r"^t: its rows"):
        deque(iter_table_rows(file, names, "t"), maxlen=0)


def nested_lists(depth: int) -> bytes:
    """A structure in the compact protocol with a list of lists of lists."""
    return b"\x19" + b"\x19" * depth + b"\x15\x00" + b"\x00"


def test_lists_in_lists_are_refused(tmp_path: Path) -> None:
    walk(nested_lists(10))
    for depth in (30, 150_000):
        with pytest.raises(pa.ArrowInvalid, match="nested too deeply"):
            walk(nested_lists(depth))
    footer = nested_lists(150_000)
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(pa.ArrowInvalid, match="nested too deeply"):
        parquet.load_schema(path)


def test_pages_are_checked_once_and_not_for_the_schema(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[int] = []
    monkeypatch.setattr(parquet, "check_pages", lambda file, footer, columns: checked.append(1))
    assert parquet.load_schema(path).names == list(ROWS[0])
    assert not checked
    list(iter_table_rows(path))
    assert len(checked) == 1
    with path.open("rb") as file:
        parquet.load_parquet(file)
        parquet.check_texts(file, ("id", "list"), "a.parquet", 100)
    assert len(checked) == 2
