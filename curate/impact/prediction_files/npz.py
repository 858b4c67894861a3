"""Predictions as NumPy's archive of arrays, read in pieces."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from curate.core.errors import DataError
from curate.impact.prediction_files.batch import (
    DENSE,
    LISTED,
    REQUIRED,
    ROWS,
    Batch,
    choose_columns,
    make_batch,
)
from curate.layouts.faces.boxes import one_line

_ENDING = ".npy"


@dataclass(frozen=True, slots=True)
class _Member:
    """An array in an archive, open at its first row."""

    name: str
    file: IO[bytes]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def read(self, rows: int) -> npt.NDArray[Any]:
        """The next rows."""
        shape = (rows, *self.shape[1:])
        wanted = math.prod(shape) * self.dtype.itemsize
        data = self.file.read(wanted)
        if len(data) < wanted:
            raise ValueError(f"{self.name} ends early")
        return np.frombuffer(data, dtype=self.dtype).reshape(shape)


def iter_ids(path: Path) -> Iterator[list[str]]:
    """The images' ids, some at a time."""
    for columns in _iter_columns(path, REQUIRED[:1]):
        yield columns["id"]


def iter_batches(path: Path) -> Iterator[Batch]:
    """The predictions, some at a time."""
    for columns in _iter_columns(path, None):
        yield make_batch(columns, path)


def _iter_columns(path: Path, names: Sequence[str] | None) -> Iterator[dict[str, Any]]:
    try:
        with zipfile.ZipFile(path) as archive, ExitStack() as stack:
            present = [name.removesuffix(_ENDING) for name in archive.namelist()]
            columns = choose_columns(present, path)
            members = [
                _open(name, stack.enter_context(archive.open(name + _ENDING)), path)
                for name in names or columns
            ]
            count = _count_rows(members, path)
            for start in range(0, count, ROWS):
                rows = min(ROWS, count - start)
                yield {member.name: _convert(member.read(rows), member) for member in members}
    except (zipfile.BadZipFile, ValueError, EOFError, NotImplementedError, KeyError) as error:
        raise DataError(f"{path} cannot be read as predictions: {one_line(error)}") from None
    except OSError as error:
        why = error.strerror or one_line(error)
        raise DataError(f"{path} cannot be read as predictions: {why}") from None


def _open(name: str, file: IO[bytes], path: Path) -> _Member:
    """Read an array's head; arrays of Python objects could run code, and are refused."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    else:
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    if dtype.hasobject:
        raise DataError(f"{path} has {name!r} as Python objects; save texts as a str array")
    wanted = 2 if name in (DENSE, *LISTED) else 1
    if len(shape) != wanted:
        raise DataError(f"{path} has {name!r} with {len(shape)} dimensions; want {wanted}")
    if fortran and wanted == 2:
        raise DataError(f"{path} has {name!r} column by column; save it as C-contiguous")
    return _Member(name, file, shape, dtype)


def _count_rows(members: Sequence[_Member], path: Path) -> int:
    counts = {member.name: member.shape[0] for member in members}
    if len(set(counts.values())) > 1:
        said = ", ".join(f"{count:,} of {name!r}" for name, count in counts.items())
        raise DataError(f"{path} has arrays of different length: {said}")
    return members[0].shape[0]


def _convert(values: npt.NDArray[Any], member: _Member) -> Any:
    return [str(value) for value in values] if member.name in ("id", "sha256") else values
