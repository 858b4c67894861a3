"""Check of a manifest's own tables: whatever faces `blur` writes pass, hidden texts do not."""

from __future__ import annotations

import base64
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.manifest import store
from curate.manifest.schema import METADATA, RECORDS
from curate.pipeline.inspection import find_excess

BASE64 = base64.b64encode(random.Random(3).randbytes(12_000)).decode()  # noqa: S311
PIECES = [BASE64[n : n + 20] for n in range(0, len(BASE64), 20)]
PART = "part-00000.parquet"

Faces = list[dict[str, Any]]


def face(x: float, y: float, size: float, frames: int | list[int] = 1) -> dict[str, Any]:
    return {
        "xyxy": [x, y, x + size, y + 1.3 * size],
        "hidden_xyxy": [float(int(each)) for each in (x - 9, y - 9, x + size, y + 1.5 * size)],
        "confidence": 0.9 - x / 1e5,
        "detectors": ["fusion", "mtcnn", "retinaface"],
        "decided_by": "detector",
        "frames": list(range(frames)) if isinstance(frames, int) else frames,
    }


def given(faces: Faces) -> Faces:
    return [{**each, "confidence": None, "detectors": [], "decided_by": "file"} for each in faces]


def find(folder: Path, faces: Faces, **fields: Any) -> str | None:
    row = {
        "id": "a.gif",
        "source_path": "a.gif",
        "width": 1000,
        "height": 800,
        "outcome": "written",
        "route": "lossless",
        "mode": "RGB",
        "orientation": 1,
        "faces": faces,
        "transforms": [
            {"name": "strip_metadata", "version": "1", "parameters": '{"keeps":"icc,orientation"}'}
        ],
        **{f"{name}_sha256": BASE64[:32].encode().hex() for name in ("source", "output", "pixels")},
        "output_path": "a.gif",
        **fields,
    }
    columns = {field.name: [row.get(field.name)] for field in RECORDS}
    path = folder / PART
    with pq.ParquetWriter(path, RECORDS, store_schema=False) as writer:
        writer.write_table(pa.Table.from_pydict(columns, schema=RECORDS))
        writer.add_key_value_metadata(METADATA)
    return find_excess(path)


def still(count: int, frames: int) -> Faces:
    return [face(100 + 200 * n, 100 + 50 * (n % 2), 90, frames) for n in range(count)]


@pytest.mark.parametrize(
    "faces",
    [
        *(
            [face(100 + 1.5 * n, 100 + n % 7 * 1.1, 90 + n % 5, [n]) for n in range(count)]
            for count in (16, 31, 32, 33, 100, 1000)
        ),
        *(still(count, 63) for count in (1, 3, 4, 8)),
        *(still(count, frames) for count in (1, 3) for frames in (301, 999, 1000)),
        [face(20 + 20 * n + n % 3, 30 + 15 * n + n % 4 * 2, 10 + 1.2 * n) for n in range(40)],
        [face(20 + n % 100 * 45, 30 + n // 100 * 70, 20 + n % 6) for n in range(2001)],
        [face(20 + n % 100 * 9, 30 + n // 100, 20 + n % 6) for n in range(20_000)],
        still(980, 1000),  # as many values as `hide` accepts
        given(still(5, 63)),
        given(still(4, 1000)),
    ],
    ids=lambda faces: f"{len(faces)} faces in {len(faces[0]['frames'])} frames",
)
def test_faces_in_any_number_and_place_are_accepted(faces: Faces, tmp_path: Path) -> None:
    assert find(tmp_path, faces) is None
    assert [len(entry.faces) for entry in store.iter_part(tmp_path / PART)] == [len(faces)]


@pytest.mark.parametrize(
    ("column", "faces", "fields"),
    [
        ("faces.detectors", [{**face(9, 9, 9), "detectors": ["fusion", BASE64[:1000]]}], {}),
        ("faces.detectors", [{**face(9, 9, 9), "detectors": [each]} for each in PIECES], {}),
        ("faces.detectors", [{**face(9, 9, 9), "detectors": ["a", "b"] * 1000}], {}),
        ("faces.frames", [face(9, 9, 9, 1001)], {}),
        ("faces.decided_by", [face(9, 9, 9)] * 50 + [{**face(9, 9, 9), "decided_by": BASE64}], {}),
        ("faces", [face(9, 9, 9)] * 65_537, {}),
        ("mode", [], {"mode": BASE64[:2000]}),
        ("reason", [], {"reason": BASE64[:2000]}),
        ("source_sha256", [], {"source_sha256": BASE64[:2000]}),
        *(
            (
                "transforms.parameters",
                [],
                {"transforms": [{"name": "blur", "version": "1", "parameters": text}]},
            )
            for text in (f'{{"note":"{BASE64[:2000]}"}}', str([*range(999, 10**6, 999)]))
        ),
        (
            "transforms.name",
            [],
            {"transforms": [{"name": each, "version": "1", "parameters": "{}"} for each in PIECES]},
        ),
    ],
)
def test_texts_and_lists_that_hide_data_are_found(
    column: str, faces: Faces, fields: dict[str, Any], tmp_path: Path
) -> None:
    found = find(tmp_path, faces, **fields)
    assert found is not None
    assert f"{column} of 'a.gif' is over the limits" in found


@pytest.mark.parametrize(
    "kind", [pa.binary(), pa.map_(pa.string(), pa.string()), pa.large_list(pa.string())]
)
def test_other_types_are_over_the_limits(kind: Any, tmp_path: Path) -> None:
    value = b"x" if kind == pa.binary() else [("a", "b")] if pa.types.is_map(kind) else ["a"]
    table = pa.table({"id": ["a", "b"], "x": pa.array([None, value], kind)})
    pq.write_table(table, tmp_path / "a.parquet")
    assert "x of 'b' is over the limits" in str(find_excess(tmp_path / "a.parquet"))
