"""Prediction files: a classifier's scores per image, as Parquet or .npz, read in batches."""

from __future__ import annotations

import io
import math
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from curate.core.errors import DataError, describe_malformed
from curate.core.records import escape_unprintable
from curate.storage.cells import check_dense, is_text
from curate.storage.parquet import check_chunks, iter_group_batches, open_parquet, text_paths
from curate.storage.regular import open_regular

ROWS = 1024
"""Images per batch."""

REQUIRED = ("id", "label")
DENSE = "logits"
LISTED = ("topk", "scores")
DIGEST = "sha256"

_PART = re.compile(r"part-[0-9]{5,}\.parquet")
_NPY = ".npy"
_MAX_ROW = 256 << 10
"""Maximum size of an image's values in an array, bytes: 65,536 classes of 32 bits."""
_MAX_ITEMS = 50_000_000
"""Maximum number of scores in a row group of Parquet: 50,000 images of 1,000 classes."""
_MAX_CHUNK = 8 * _MAX_ITEMS
_BATCH_ITEMS = 8 << 20  # scores in memory, of usual files
_MAX_BATCH_ITEMS = 2 * _BATCH_ITEMS
_MAX_HEADER = 10_000  # bytes of a header of .npy, of which NumPy reads as many
_SHOWN = 10  # columns in a message
_MAX_NAME = 4096  # bytes of an id, a digest or the name of a class

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Batch:
    """Predictions for some images.

    Args:
        ids: image ids, length n.
        labels: true classes, shape (n,), int64 indices or names.
        scores: shape (n, K), for all classes in order or for the listed ones.
        listed: the listed classes, best first, shape (n, K), int64 or names; None where
            ``scores`` covers all classes.
        sha256: digests of the image files, length n; None if the file has none.
    """

    ids: Sequence[str]
    labels: Array
    scores: npt.NDArray[np.float32]
    listed: Array | None = None
    sha256: Sequence[str | None] | None = None


def iter_ids(path: Path) -> Iterator[list[str]]:
    """Iterate over the image ids in file order, in batches.

    Raises:
        DataError: if the file cannot be read or has no ids.
    """
    for file in _files(path):
        for columns in _iter_columns(file, REQUIRED[:1]):
            yield columns["id"]


def iter_batches(path: Path) -> Iterator[Batch]:
    """Iterate over the predictions in file order, in batches.

    Args:
        path: Parquet with the columns ``id``, ``label`` and either ``logits`` or ``topk`` and
            ``scores``, optionally ``sha256``; .npz with arrays of these names; or a folder of
            such Parquet files named ``part-00000.parquet`` and so on.

    Raises:
        DataError: if the file cannot be read or a value is invalid.
    """
    for file in _files(path):
        for columns in _iter_columns(file, None):
            yield make_batch(columns, file)


def choose_columns(present: Sequence[str], path: Path) -> list[str]:
    """Return the columns or arrays to read.

    Raises:
        DataError: if a required one is missing.
    """
    more = f" and {len(present) - _SHOWN:,} more" if len(present) > _SHOWN else ""
    names = escape_unprintable(", ".join(name[:80] for name in present[:_SHOWN])) + more
    for name in REQUIRED:
        if name not in present:
            raise DataError(f"{path} has no column {name!r}; it has: {names}")
    if DENSE in present:
        scores: tuple[str, ...] = (DENSE,)
    elif all(name in present for name in LISTED):
        scores = LISTED
    else:
        raise DataError(f"{path} has neither 'logits' nor 'topk' with 'scores'; it has: {names}")
    return [*REQUIRED, *scores, *([DIGEST] if DIGEST in present else [])]


def make_batch(columns: Mapping[str, Any], path: Path) -> Batch:
    """Validate columns and combine them into a batch.

    Args:
        columns: by name, as listed by `choose_columns`; list columns are matrices.
        path: the file, for messages.

    Raises:
        DataError: if a value is invalid.
    """
    ids = columns["id"]
    listed = columns.get("topk")
    scores = columns[DENSE] if listed is None else columns["scores"]
    if scores.shape[1] < 1:
        raise DataError(f"{path} has predictions without any class")
    if not np.issubdtype(scores.dtype, np.number) or np.iscomplexobj(scores):
        raise DataError(f"{path} has scores that are not numbers")
    with np.errstate(over="ignore"):
        scores = scores.astype(np.float32, copy=False)
    _check_scores(scores, ids, path)
    if listed is not None:
        _check_lists(listed, scores, ids, path)
        listed = _as_classes(listed, path)
    return Batch(ids, _as_classes(columns["label"], path), scores, listed, columns.get(DIGEST))


def _check_scores(scores: npt.NDArray[np.float32], ids: Sequence[str], path: Path) -> None:
    finite = np.isfinite(scores).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        what = "NaN" if np.isnan(scores[row]).any() else "infinite"
        raise DataError(f"{path} has a score for {ids[row]!r} that is {what}")


def _check_lists(
    listed: Array, scores: npt.NDArray[np.float32], ids: Sequence[str], path: Path
) -> None:
    if listed.shape != scores.shape:
        raise DataError(f"{path} does not have one score for each class in 'topk'")
    ordered = (np.diff(scores, axis=1) <= 0).all(axis=1)
    if not ordered.all():
        name = ids[int(np.argmin(ordered))]
        raise DataError(f"{path} has scores for {name!r} that do not descend; list the best first")
    unique = (np.diff(np.sort(listed, axis=1), axis=1) != 0) if listed.dtype.kind in "iu" else None
    for row in range(len(listed)):
        is_unique = (
            unique[row].all() if unique is not None else len({*listed[row]}) == len(listed[row])
        )
        if not is_unique:
            raise DataError(f"{path} lists a class twice for {ids[row]!r}")


def _as_classes(values: Array, path: Path) -> Array:
    if values.dtype.kind in "iu":
        return values.astype(np.int64)
    if values.dtype.kind in "UO":
        return values
    raise DataError(f"{path} has classes that are neither integers nor names")


def _files(path: Path) -> list[Path]:
    """The parts of a folder in order, or the file itself."""
    if not path.is_dir():
        return [path]
    parts = [file for file in path.iterdir() if _PART.fullmatch(file.name)]
    if not parts:
        raise DataError(f"{path} contains no part-00000.parquet; give a prediction file")
    return sorted(parts, key=lambda file: (len(file.name), file.name))


def _iter_columns(path: Path, names: Sequence[str] | None) -> Iterator[dict[str, Any]]:
    """Batches of the named columns, or of all that are needed."""
    try:
        with open_regular(path, follow_links=True) as file:
            start = file.read(4)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from None
    if start == b"PAR1":
        yield from _iter_parquet(path, names)
    elif start == b"PK\x03\x04":
        yield from _iter_npz(path, names)
    else:
        raise DataError(f"{path} is not a prediction file; give Parquet or .npz")


@contextmanager
def _described(path: Path) -> Iterator[None]:
    """Turn errors of a malformed file into one line."""
    malformed = (
        *(pa.ArrowException, UnicodeDecodeError, zipfile.BadZipFile),
        *(ValueError, EOFError, NotImplementedError, KeyError),
    )
    try:
        yield
    except (*malformed, OSError) as error:
        line = describe_malformed(error)
        raise DataError(f"cannot read {path} as predictions: {line}") from None


# Parquet


def _iter_parquet(path: Path, names: Sequence[str] | None) -> Iterator[dict[str, Any]]:
    with _described(path), open_parquet(path, has_checked_pages=True) as table:
        columns = choose_columns(table.schema_arrow.names, path)
        wanted = list(names or columns)
        limits = (_MAX_CHUNK, _MAX_ITEMS)
        rows = min(ROWS, check_chunks(table.metadata, frozenset(wanted), str(path), *limits))
        texts = text_paths(table.metadata, frozenset(wanted))
    with _described(path), open_parquet(path, texts, columns=wanted) as table:
        rows = min(rows, max(1, _BATCH_ITEMS // _count_classes(table.metadata)))
        for batch in iter_group_batches(table, rows, wanted):
            if batch.num_rows:
                named = zip(batch.schema.names, batch.columns, strict=True)
                yield {name: _from_arrow(column, name, path) for name, column in named}


def _count_classes(footer: Any) -> int:
    """Return the largest mean number of list items per row of a row group."""
    counts = [1]
    for group in map(footer.row_group, range(footer.num_row_groups)):
        values = [group.column(number).num_values for number in range(group.num_columns)]
        counts.append(max(values, default=0) // max(group.num_rows, 1))
    return max(counts)


def _check_texts(column: Any, name: str, path: Path) -> None:
    """Refuse long texts, which a dictionary could repeat for every row."""
    shared = pa.types.is_dictionary(column.type)
    if is_text(column.type.value_type if shared else column.type):
        longest = pc.max(pc.binary_length(column.dictionary if shared else column)).as_py() or 0
        if longest > _MAX_NAME:
            raise DataError(
                f"{path} has a text of {longest:,} bytes in {name!r}; at most {_MAX_NAME:,}"
            )


def _from_arrow(column: Any, name: str, path: Path) -> Any:
    _check_texts(column, name, path)
    if name == DIGEST:
        return column.cast(pa.string()).to_pylist()
    if column.null_count:
        raise DataError(f"{path} has an empty value in {name!r}")
    if name == "id":
        return [str(text) for text in column.cast(pa.string()).to_pylist()]
    if name in (DENSE, *LISTED):
        return _from_lists(column, name, path)
    return _to_array(column, name, path)


def _from_lists(column: Any, name: str, path: Path) -> Array:
    """Lists of one length as the rows of a matrix."""
    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(is_kind(column.type) for is_kind in kinds):
        raise DataError(f"{path} has a column {name!r} of type {column.type}, not lists")
    lengths = pc.unique(pc.list_value_length(column)).to_pylist()
    if len(lengths) != 1:
        raise DataError(
            f"{path} has lists in {name!r} of {min(lengths):,} to {max(lengths):,} classes"
        )
    values = column.flatten()
    if len(values) > _MAX_BATCH_ITEMS:
        raise DataError(
            f"{path} has {lengths[0]:,} classes for an image in {name!r}, which are too many"
        )
    if pa.types.is_dictionary(values.type) or is_text(values.type):
        check_dense(column, name, str(path), _MAX_NAME)
    return _to_array(values, name, path).reshape(len(column), lengths[0])


def _to_array(column: Any, name: str, path: Path) -> Array:
    if column.null_count:
        raise DataError(f"{path} has an empty value in {name!r}")
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return np.asarray(column.to_numpy(zero_copy_only=False))


# .npz


@dataclass(frozen=True, slots=True)
class _Member:
    """An array in an archive, positioned at its next row."""

    name: str
    file: IO[bytes]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def read(self, rows: int) -> Any:
        """The next rows; ids and digests as strings."""
        shape = (rows, *self.shape[1:])
        size = math.prod(shape) * self.dtype.itemsize
        data = self.file.read(size)
        if len(data) < size:
            raise ValueError(f"{self.name} ends early")
        values = np.frombuffer(data, dtype=self.dtype).reshape(shape)
        return [str(value) for value in values] if self.name in ("id", DIGEST) else values


def _iter_npz(path: Path, names: Sequence[str] | None) -> Iterator[dict[str, Any]]:
    with _described(path), zipfile.ZipFile(path) as archive, ExitStack() as stack:
        present = [name.removesuffix(_NPY) for name in archive.namelist()]
        columns = choose_columns(present, path)
        members = [
            _open_member(name, stack.enter_context(archive.open(name + _NPY)), path)
            for name in names or columns
        ]
        count = _count_rows(members, path)
        for start in range(0, count, ROWS):
            rows = min(ROWS, count - start)
            yield {member.name: member.read(rows) for member in members}


def _open_member(name: str, file: IO[bytes], path: Path) -> _Member:
    """Read an array's header; arrays of Python objects could run code and are refused."""
    version = np.lib.format.read_magic(file)
    length = file.read(2 if version == (1, 0) else 4)
    size = int.from_bytes(length, "little")
    if size > _MAX_HEADER:
        raise DataError(f"{path} has a header of {size:,} bytes for {name!r}, which is too long")
    header = io.BytesIO(length + file.read(size))
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(header)
    else:
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(header)
    if dtype.hasobject:
        raise DataError(f"{path} has {name!r} as Python objects; save text as a str array")
    expected = 2 if name in (DENSE, *LISTED) else 1
    if len(shape) != expected:
        raise DataError(f"{path} has {name!r} with {len(shape)} dimensions; expected {expected}")
    if fortran and expected == 2:
        raise DataError(f"{path} has {name!r} in Fortran order; save it as C-contiguous")
    size = math.prod(shape[1:]) * dtype.itemsize
    if size > _MAX_ROW:
        raise DataError(
            f"{path} has {size:,} bytes per image in {name!r}; at most {_MAX_ROW:,} are read"
        )
    return _Member(name, file, shape, dtype)


def _count_rows(members: Sequence[_Member], path: Path) -> int:
    counts = {member.name: member.shape[0] for member in members}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count:,} of {name!r}" for name, count in counts.items())
        raise DataError(f"{path} has arrays of different length: {listed}")
    return members[0].shape[0]
