"""Tables with images, as `datasets` writes them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate.layouts.sidecars.file_facts import drop_file_facts, renew_fingerprint
from curate.layouts.sidecars.table import rewrite_table
from curate.layouts.sidecars.values import Limits
from tests.layouts.shards import picture

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
FEATURES = (
    b'{"info": {"features": {"image": {"_type": "Image"}, '
    b'"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}, '
    b'"text": {"dtype": "string", "_type": "Value"}}}}'
)


def images(*numbers: int) -> list[dict[str, Any]]:
    return [{"bytes": picture(number), "path": f"{number}.png"} for number in numbers]


def table(rows: int = 5, **columns: Any) -> pa.Table:
    """Images, labels and texts; other columns by name."""
    given = {
        "image": pa.array(images(*range(rows)), IMAGE),
        "label": pa.array([number % 3 - 1 for number in range(rows)]),
        "text": pa.array([f"row {number}" for number in range(rows)]),
        **columns,
    }
    return pa.table(given).replace_schema_metadata({"huggingface": FEATURES})


def write_parquet(path: Path, content: pa.Table, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(content, path, **options)
    return path


def write_compacted(path: Path, content: pa.Table) -> Path:
    """Write a table such that rewriting it gives the same bytes."""
    out = io.BytesIO()
    with write_parquet(path, content).open("rb") as file:
        rewrite_table(file, out, path.name, Limits(()))
    path.write_bytes(out.getvalue())
    return path


def write_arrow(folder: Path, content: pa.Table, rows: int = 2) -> Path:
    """Save as ``save_to_disk`` does, in record batches of a few rows; with curate's fingerprint."""
    folder.mkdir(parents=True, exist_ok=True)
    name = "data-00000-of-00001.arrow"
    (folder / "dataset_info.json").write_text("{}")
    state = {
        **dict.fromkeys(("_format_columns", "_format_type", "_split")),
        "_data_files": [{"filename": name}],
        "_fingerprint": "0123456789abcdef",
        "_format_kwargs": {},
        "_output_all_columns": False,
    }
    (folder / "state.json").write_text(
        json.dumps(renew_fingerprint(drop_file_facts(state, Limits(()))))
    )
    with pa.ipc.new_stream(folder / name, content.schema) as writer:
        writer.write_table(content, max_chunksize=rows)
    return folder / name
