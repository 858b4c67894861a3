"""Tables of groups in memory are read and refused as files are."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.core.errors import CurateError, DataError, UsageError
from curate.layouts.groups import find_id_column, iter_rows, load_columns, load_groups
from curate.layouts.memory_table import (
    MemoryTable,
    as_table,
    describe_table,
    digest_table,
)
from tests.layouts.in_memory import FORMS

WANT = {"a.jpg": {"tone": "VI", "site": "1"}, "b.jpg": {"tone": "I"}, "c.jpg": {"site": "2"}}
TEXT = "id,tone,site\na.jpg,VI,1\nb.jpg,I,\nc.jpg,,2\n"


def in_memory(given: Any) -> MemoryTable:
    table = as_table(given)
    assert isinstance(table, MemoryTable)
    return table


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_gives_the_rows_of_the_file(form: Callable[[Path], Any], tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text(TEXT)
    table = in_memory(form(path))
    assert load_groups(table) == load_groups(path) == WANT
    assert set(load_columns(table)) == set(load_columns(path))
    assert find_id_column(table, None, required=True) == "id"
    assert as_table(table) is table


@pytest.mark.parametrize(
    ("name", "values", "column"),
    [
        ("a missing id", {"id": ["a", None], "tone": ["I", "V"]}, None),
        ("an empty id", {"id": ["a", ""], "tone": ["I", "V"]}, None),
        ("an id that is a share", {"id": [0.5, 1.0], "tone": ["I", "V"]}, None),
        ("an id of two rows", {"id": ["a", "a"], "tone": ["I", "V"]}, None),
        ("no column of ids", {"tone": ["I", "V"]}, None),
        ("no column", {}, None),
        ("an unknown column of ids", {"id": ["a"], "tone": ["I"]}, "nmae"),
        ("a text of 2 MB", {"id": ["a"], "tone": ["I" * (2 << 20)]}, None),
        ("lists of too many items", {"id": ["a"], "tone": [list(range(2_000_000))]}, "id"),
    ],
)
def test_errors_are_those_of_a_file(
    name: str, values: dict[str, Any], column: str | None, tmp_path: Path
) -> None:
    frame = pd.DataFrame(values)
    path = tmp_path / "groups"
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path)

    def read(table: Path | MemoryTable) -> None:
        find_id_column(table, column, required=False)
        list(iter_rows(table, None if column is None else ["id", "tone"]))
        load_groups(table)

    with pytest.raises(CurateError) as of_file:
        read(path)
    with pytest.raises(type(of_file.value)) as of_memory:
        read(in_memory(frame))
    assert str(of_memory.value) == str(of_file.value).replace(str(path), "groups")


@pytest.mark.parametrize(
    "given",
    [5, {"id": ["a"]}, [{"id": "a"}], pd.Series(["a"]), pl.Series(["a"]), b"people.csv", object()],
    ids=lambda given: type(given).__name__,
)
def test_what_is_no_table_is_refused(given: Any) -> None:
    with pytest.raises(UsageError, match=r"groups is a \w+, not a path or a table; give the path"):
        as_table(given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (pd.DataFrame({"id": ["a"], "age": [object()]}), "column age .*; give each column values"),
        (pd.DataFrame({"id": ["a", "b"], "age": [12, "old"]}), "column age .*; give each column"),
        (pd.DataFrame([["a", "I"]], columns=["id", "id"]), "[Dd]uplicate column name"),
        (pa.table([["a"], ["I"]], names=["id", "id"]), "[Dd]uplicate column name"),
        (pd.DataFrame({"id": ["a"], "z": [1 + 2j]}), "column z .*; give each column values"),
    ],
)
def test_columns_that_no_table_can_have_are_one_line(given: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"^groups cannot be read as a table: .*{message}") as found:
        as_table(given)
    assert "\n" not in str(found.value)


def test_images_of_a_dataset_are_not_read() -> None:
    pixels = np.zeros((4, 4, 3), np.uint8)
    features = datasets.Features({"id": datasets.Value("string"), "image": datasets.Image()})
    hub = datasets.Dataset.from_dict({"id": ["a", "b"], "image": [pixels] * 2}, features=features)
    table = in_memory(hub.select([1]))
    assert load_columns(table) == ("id",)
    assert list(iter_rows(table)) == [{"id": "b"}]
    assert load_columns(in_memory(hub.with_format("arrow")[:])) == ("id",)


def test_an_index_without_a_name_is_no_column() -> None:
    frame = pd.DataFrame({"id": ["a", "b", "c"], "tone": ["I", "V", "I"]})
    assert load_columns(in_memory(frame[frame.tone == "I"])) == ("id", "tone")
    assert load_columns(in_memory(frame.set_index("id"))) == ("tone", "id")


def test_the_digest_is_of_the_values() -> None:
    frame = pd.DataFrame({"id": ["a", "b"], "age": [1.0, None], "tone": ["I", "V"]})
    digest = in_memory(frame).sha256
    assert (
        digest
        == hashlib.sha256(b'["id", "age", "tone"]\n["a", 1.0, "I"]\n["b", null, "V"]').hexdigest()
    )
    same = (frame.copy(), frame.astype({"tone": "category"}), frame[frame.id != "x"])
    assert {in_memory(each).sha256 for each in same} == {digest}
    others = (
        frame.assign(age=[1.0, 2.0]), frame[::-1], frame.rename(columns={"tone": "t"}),
        frame[["id", "tone"]], frame.assign(age=["1.0", None]), frame[:1],
    )  # fmt: skip
    assert len({digest, *(in_memory(each).sha256 for each in others)}) == 7


def test_a_report_states_where_its_table_was(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text(TEXT)
    table = in_memory(pd.read_csv(path))
    assert describe_table(None) == {"groups_sha256": None}
    assert describe_table(str(path)) == {"groups_sha256": digest_table(path)}
    assert digest_table(path) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert describe_table(table) == {"groups_sha256": table.sha256, "groups_in_memory": True}
