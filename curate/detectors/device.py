"""The device: the processor or CUDA, importing torch only where it may matter."""

from __future__ import annotations

import re
import shutil
from contextlib import AbstractContextManager
from pathlib import Path

from curate.core.errors import SetupError, UsageError, describe_choice

_GPU = re.compile(r"\b(?:cuda|cudnn|cublas|cufft|cusolver|nvrtc)", re.IGNORECASE)


def choose_device(wanted: str) -> str:
    """``cpu`` or ``cuda`` for ``auto``, ``cpu`` or ``cuda``; only ``cpu`` imports no torch.

    Raises:
        SetupError: if ``cuda`` is wanted and not there.
        UsageError: if there is no such device.
    """
    if wanted == "cpu":
        return wanted
    if wanted not in ("auto", "cuda"):
        raise UsageError(describe_choice("device", wanted, ("auto", "cpu", "cuda")))
    if wanted == "auto" and not _may_have_cuda():
        return "cpu"
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if wanted == "auto":
        return "cpu"
    raise SetupError(
        "device 'cuda' was asked for, but torch sees no CUDA device; install a CUDA build of "
        "torch and a driver (https://pytorch.org/get-started/locally/), or use --device cpu"
    )


def _may_have_cuda() -> bool:
    """Whether a driver shows itself, so that torch is imported only where it may matter."""
    return Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi") is not None


def refuse_cuda(detector: str, wanted: str) -> None:
    """Refuse CUDA for a detector that runs on the processor only.

    Raises:
        UsageError: if CUDA is wanted.
    """
    if wanted == "cuda":
        raise UsageError(f"the detector {detector!r} runs on the processor only; use --device cpu")


def gpu_memory() -> int:
    """Bytes of memory of the CUDA device that is used; 0 without one."""
    import torch

    return torch.cuda.get_device_properties(0).total_memory if torch.cuda.is_available() else 0


def is_gpu_failure(error: Exception) -> bool:
    """Whether an error comes from CUDA or one of its libraries, such as a lack of memory."""
    return bool(_GPU.search(f"{type(error).__name__}: {error}"))


def convolutions_of_any_size() -> AbstractContextManager[None]:
    """Use full float32 without cuDNN in convolutions on CUDA.

    cuDNN chooses an algorithm for every new size of an input, which takes seconds where images
    differ in size. PyTorch's own kernels start at once, and the result of an input does not
    depend on what is in its batch.
    """
    import torch

    return torch.backends.cudnn.flags(
        enabled=False, benchmark=False, deterministic=True, allow_tf32=False
    )


def exact_convolutions() -> AbstractContextManager[None]:
    """Use full float32, and the same algorithm every time, in convolutions on CUDA."""
    import torch

    return torch.backends.cudnn.flags(
        enabled=True, benchmark=False, deterministic=True, allow_tf32=False
    )
