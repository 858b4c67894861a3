from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.core.entries import ManifestEntry
from curate.core.errors import ManifestError, SchemaVersionError
from curate.manifest import store
from curate.manifest.schema import METADATA, RECORDS
from tests.conftest import ROOT

DEMO = ROOT / "manifests/demo/records/part-00000.parquet"


def write(path: Path, table: pa.Table, metadata: dict[str, str] = METADATA) -> None:
    with pq.ParquetWriter(path, table.schema, write_statistics=False, store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(metadata)


def rows() -> list[dict[str, Any]]:
    return list(pq.read_table(DEMO).to_pylist())


def with_metadata(path: Path) -> None:
    write(path, pq.read_table(DEMO), METADATA | {"picture": "x" * 1000})


def with_the_arrow_schema(path: Path) -> None:
    pq.write_table(pq.read_table(DEMO), path)


def with_a_column_of_bytes(path: Path) -> None:
    table = pq.read_table(DEMO)
    write(path, table.append_column("face", pa.array([b"x"] * len(table))))


def without_a_column(path: Path) -> None:
    write(path, pq.read_table(DEMO).drop_columns(["route"]))


def with_another_type(path: Path) -> None:
    table = pq.read_table(DEMO)
    write(path, table.set_column(6, "width", pa.array(["7"] * len(table))))


def with_a_null_id(path: Path) -> None:
    schema = pa.schema([pa.field(field.name, field.type) for field in RECORDS])
    write(path, pa.Table.from_pylist([*rows(), {}], schema=schema))


def with_bytes_between_the_columns(path: Path) -> None:
    data = DEMO.read_bytes()
    length = int.from_bytes(data[-8:-4], "little")
    path.write_bytes(data[: -8 - length] + b"a face" + data[-8 - length :])


def with_an_unknown_outcome(path: Path) -> None:
    change(path, outcome="\x1b[31m\nshown")


def with_parameters_that_are_no_object(path: Path) -> None:
    change(path, transforms=[{"name": "a", "version": "1", "parameters": "5"}])


def with_parameters_without_end(path: Path) -> None:
    change(path, transforms=[{"name": "a", "version": "1", "parameters": "[" * 100_000}])


def with_a_box_of_three(path: Path) -> None:
    change(path, faces=[{"xyxy": [1.0, 2.0, 3.0]}])


def with_a_box_that_is_no_number(path: Path) -> None:
    face = {"xyxy": [float("nan")] * 4, "hidden_xyxy": [0.0] * 4, "detectors": [], "frames": [0]}
    change(path, faces=[face])


def with_a_null_face(path: Path) -> None:
    change(path, faces=[None])


def change(path: Path, **values: Any) -> None:
    write(path, pa.Table.from_pylist([rows()[0] | values], schema=RECORDS))


@pytest.mark.parametrize(
    "forge",
    [
        *(with_metadata, with_the_arrow_schema),
        *(with_a_column_of_bytes, without_a_column, with_another_type, with_a_null_id),
        *(with_an_unknown_outcome, with_parameters_that_are_no_object, with_parameters_without_end),
        *(with_a_box_of_three, with_a_box_that_is_no_number, with_a_null_face),
    ],
)
def test_a_part_with_other_metadata_is_refused_in_one_line(
    forge: Callable[[Path], None], tmp_path: Path
) -> None:
    path = tmp_path / store.part_name(0)
    forge(path)
    with pytest.raises(ManifestError) as caught:
        list(store.iter_part(path))
    assert "part-00000.parquet" in str(caught.value)
    assert str(caught.value).isprintable()


def test_bytes_between_the_columns_are_reported(tmp_path: Path) -> None:
    path = tmp_path / store.part_name(0)
    with_bytes_between_the_columns(path)
    assert list(store.iter_part(path)) == list(store.iter_part(DEMO))
    assert store.has_foreign_bytes(path)
    assert not store.has_foreign_bytes(DEMO)


@pytest.mark.parametrize(
    ("version", "error"), [("2", SchemaVersionError), ("0", ManifestError), ("1.0", ManifestError)]
)
def test_a_part_of_another_version_is_refused(
    version: str, error: type[Exception], tmp_path: Path
) -> None:
    write(tmp_path / "part", pq.read_table(DEMO), {"curate_schema_version": version})
    with pytest.raises(error, match="version"):
        list(store.iter_part(tmp_path / "part"))


NAMES = ["a.jpg", "z.jpg", "é.jpg", "\ue000.jpg", "\ufffd.jpg", "😀.jpg", "😀/a.jpg"]


def test_parts_keep_the_order_of_bytes_whatever_the_names(tmp_path: Path) -> None:
    entries = [ManifestEntry(name, None, None, name, None, None) for name in reversed(NAMES)]
    store.save_part(entries, tmp_path / store.part_name(0))
    read = [entry.id for entry in store.iter_entries(tmp_path)]
    assert read == NAMES == sorted(NAMES, key=str.encode)


def test_only_the_parts_own_names_are_parts() -> None:
    assert store.part_number("part-00012.parquet") == 12
    assert store.part_number("part-123456.parquet") == 123_456
    for name in ("part-12.parquet", "part-000012.parquet", "part-0001x.parquet", "part-00001"):
        assert store.part_number(name) is None
