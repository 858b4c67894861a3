from __future__ import annotations

import errno
import sqlite3

import pytest
import torch

from curate.core.errors import CurateError, SetupError, SourceChangedError, WithheldError
from curate.pipeline.withhold import find_run_error


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (MemoryError(), "--workers"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "--workers"),
        (ValueError("OpenCV(5.0.0) error: (-4:Insufficient memory) Failed to allocate"), "memory"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."), "--device cpu"),
        (torch.AcceleratorError("CUDA error: device-side assert triggered", 710), "--device cpu"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_NOT_INITIALIZED"), "--device cpu"),
        (sqlite3.DatabaseError("database disk image is malformed"), "given faces"),
        (ImportError("libjpeg.so.8: cannot open shared object file"), "libjpeg"),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files"),
        (OSError(errno.ENOSPC, "No space left on device"), "there is no space left"),
        (OSError(errno.EFBIG, "File too large", "a.jpg"), "raise the limit"),
    ],
)
def test_errors_of_the_environment_end_the_run_and_name_the_remedy(
    error: Exception, remedy: str
) -> None:
    found = find_run_error(error, "a.jpg")
    assert isinstance(found, SetupError)
    assert remedy in str(found)
    assert "same command" in str(found)
    assert "\n" not in str(found)


@pytest.mark.parametrize("error", [SetupError("no weights"), SourceChangedError("gone")])
def test_errors_that_end_a_run_keep_their_type(error: CurateError) -> None:
    assert find_run_error(error, "a.jpg") is error


@pytest.mark.parametrize(
    "error",
    [
        WithheldError("truncated", "it ends too early"),
        OSError("image file is truncated (3 bytes not processed)"),
        ValueError("broken data stream"),
        RuntimeError("shape mismatch"),
    ],
)
def test_errors_of_the_image_withhold_it(error: Exception) -> None:
    assert find_run_error(error, "a.jpg") is None
