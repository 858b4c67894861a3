"""Editing of ``metadata`` files: rows are removed and added with their images."""

from __future__ import annotations

import csv
import io
import json
import posixpath
from contextlib import ExitStack
from typing import Any, BinaryIO

from curate.core.errors import DataError
from curate.core.protocols import SidecarFile
from curate.layouts.annotations import resolve
from curate.layouts.editing.changes import EDITED, SAME, EditResult, Removals, rename
from curate.layouts.editing.sidecars import StemEditor
from curate.layouts.hf_folder.read import NAMES, HfFolder, Row, find_names, iter_batches, iter_rows
from curate.layouts.tables.edit import move_row

_Values = dict[str, Any]


class HfEditor(StemEditor[HfFolder]):
    """Editor of the metadata files of a Hugging Face image folder."""

    def edit(self, other: SidecarFile, target: BinaryIO) -> EditResult:
        """Remove and add rows of a metadata file; copy other files."""
        path = str(other.path)
        if other.path.name not in NAMES:
            return super().edit(other, target)
        edit = self._edit_parquet if path.endswith(".parquet") else self._edit_text
        return EDITED if edit(path, target) else SAME

    def _edit_text(self, path: str, target: BinaryIO) -> bool:
        """Write a file line by line, kept lines as stored; returns whether it changed."""
        changed, last, end = False, b"\n", b"\n"
        for row in iter_rows(self._source.folder, path):
            kept, generated = (True, []) if row.values is None else self._decide(row, path)
            changed |= not kept or bool(generated)
            if row.stored.endswith(b"\n"):  # otherwise the last line
                end = b"\r\n" if row.stored.endswith(b"\r\n") else b"\n"
            form = _to_csv if path.endswith(".csv") else _to_json
            new = [form(values, row).encode() + end for values in generated]
            for line in [row.stored, *new] if kept else new:
                if last and not last.endswith(b"\n"):
                    target.write(end)
                target.write(line)
                last = line
        return changed

    def _edit_parquet(self, path: str, target: BinaryIO) -> bool:
        """Write a table in batches; returns whether it changed."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        changed, writer = False, None
        with ExitStack() as stack:
            for schema, batch, rows in iter_batches(self._source.folder, path):
                writer = writer or stack.enter_context(pq.ParquetWriter(target, schema))
                order: list[int] = []
                generated: list[_Values] = []
                for number, row in enumerate(rows):
                    kept, new = self._decide(row, path)
                    changed |= not kept or bool(new)
                    order += [number] if kept else []
                    order += range(
                        len(rows) + len(generated), len(rows) + len(generated) + len(new)
                    )
                    generated += new
                added = pa.RecordBatch.from_pylist(generated, schema=batch.schema)
                both = pa.Table.from_batches([batch, added])
                writer.write_table(both.take(pa.array(order, pa.int64())).cast(schema))
        return changed

    def _decide(self, row: Row, path: str) -> tuple[bool, list[_Values]]:
        """Return whether a row is kept, and the values of its new rows.

        A row of several images is dropped with one of them if images are only removed.

        Raises:
            DataError: if only some of its images are kept otherwise, or an image is to be
                generated from one of several.
        """
        values = row.values or {}
        base = posixpath.dirname(path)
        try:
            named = [
                (key, str(name), resolve(base, name, f"{row.where}: {key}"))
                for key, name in find_names(values, row.where)
                if name is not None
            ]
        except DataError:
            return True, []
        removed = {image for _, _, image in named if not self._edits.is_kept(image)}
        if removed and not isinstance(self._edits, Removals):
            others = {image for _, _, image in named} - removed
            if any(self._source.find(image) is not None for image in others):
                raise DataError(
                    f"{row.where} names several images, of which only some are removed; "
                    "such rows cannot be kept or dropped"
                )
        generated = [
            (*names, each) for names in named for each in self._edits.generated_from(names[2])
        ]
        if generated and (len(named) > 1 or named[0][0] not in values):
            raise DataError(
                f"{row.where} names several images or a list, so no image can be generated from "
                "one of them alone"
            )
        new = [
            move_row(_without(values, key), each, row.where) | {key: rename(name, image, each.id)}
            for key, name, image, each in generated
        ]
        return not removed, [{key: item[key] for key in values} for item in new]


def _without(values: _Values, key: str) -> _Values:
    return {name: value for name, value in values.items() if name != key}


def _to_json(values: _Values, row: Row) -> str:
    """Format a row as JSON, with non-ASCII characters if its source has them."""
    return json.dumps(values, ensure_ascii=row.stored.isascii())


def _to_csv(values: _Values, row: Row) -> str:
    line = io.StringIO()
    texts = ["" if value is None else value for value in values.values()]
    csv.writer(line, lineterminator="").writerow(texts)
    return line.getvalue()
