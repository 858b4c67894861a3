"""How to run, as opposed to what to do, and how far a run is."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from curate.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How far a run is.

    Args:
        total: images in SOURCE.
        images: images done, those of earlier attempts included.
        resumed: images that an earlier attempt had done.
        faces: faces hidden so far.
        withheld: images withheld so far, in committed shards.
    """

    total: int
    images: int = 0
    resumed: int = 0
    faces: int = 0
    withheld: int = 0


@dataclass(frozen=True, slots=True)
class Session:
    """How to run, as opposed to what to do; nothing here can change an output.

    Args:
        workers: processes; None for one per usable core, or one on CUDA.
        faces: a file of given faces that replaces detection, or None.
        weights: a weights file that the user brought, or None.
        watch: called with every step forward.
        stop: when set, the shards in hand are finished and the run pauses.
    """

    workers: int | None = None
    faces: Path | None = None
    weights: Path | None = None
    watch: Callable[[Snapshot], None] = field(default=lambda _: None)
    stop: threading.Event = field(default_factory=threading.Event)


def workers_for(recipe: Recipe, session: Session) -> int:
    """Processes to use: as asked, or one per usable core, or one where a GPU does the work."""
    if session.workers is not None:
        return session.workers
    if recipe.device == "cuda":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
