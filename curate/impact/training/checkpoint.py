"""Where a training can be taken up again."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from curate.core.errors import DataError


def save_checkpoint(state: Mapping[str, Any], path: Path) -> None:
    """Write a checkpoint, so that there is always the last one or this one, whole."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        torch.save(dict(state), file)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def load_checkpoint(path: Path, device: str) -> dict[str, Any] | None:
    """Read a checkpoint; None if there is none.

    Raises:
        DataError: if it is damaged.
    """
    try:
        return dict(torch.load(path, map_location=device, weights_only=True))
    except FileNotFoundError:
        return None
    except (RuntimeError, EOFError, ValueError, pickle.UnpicklingError):
        raise DataError(f"the checkpoint {path} is damaged; remove it and run again") from None
