from __future__ import annotations

import errno

import pyarrow as pa
import pytest

from curate.core.errors import DataError, SetupError, WithheldError
from curate.layouts.tables.rows import rows_at_a_time, translate_errors


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (pa.ArrowInvalid("bad\nmagic"), DataError),
        (OSError("Corrupt page"), DataError),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "no text"), DataError),
        (pa.ArrowMemoryError("malloc of size 4611686018427387904 failed"), SetupError),
        (OSError(errno.EIO, "Input/output error"), OSError),
        (WithheldError("external", "no bytes"), WithheldError),
    ],
)
def test_errors_of_a_reader_differ_from_those_of_the_system(
    error: Exception, kind: type[Exception]
) -> None:
    with pytest.raises(kind) as raised, translate_errors("a.parquet", "Parquet"):
        raise error
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("size", "rows", "expected"), [(0, 0, 512), (100, 10, 512), (10**9, 10**4, 83), (10**9, 1, 1)]
)
def test_a_slice_is_a_few_megabytes(size: int, rows: int, expected: int) -> None:
    assert rows_at_a_time(size, rows) == expected
