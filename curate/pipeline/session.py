"""How to run, as opposed to what to do, and how far a run is."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from curate.core.errors import UsageError
from curate.recipe import Options


@dataclass(frozen=True, slots=True)
class Snapshot:
    """How far a run is.

    Args:
        total: images in SOURCE.
        images: images done, those of earlier attempts included.
        resumed: images that an earlier attempt had done.
        faces: faces hidden so far; None where they are not known.
        withheld: images withheld so far, in committed shards.
    """

    total: int
    images: int = 0
    resumed: int = 0
    faces: int | None = 0
    withheld: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """How far a run is.

    Args:
        what: what is being done.
        unit: what is counted.
        done: how many of them are done.
        total: how many there are, or None where that is not known.
    """

    what: str
    unit: str
    done: int
    total: int | None


@dataclass(frozen=True, slots=True)
class Session:
    """How to run, as opposed to what to do; nothing here can change an output.

    Args:
        layout: SOURCE's layout, or ``auto`` to recognise it.
        workers: processes; None for one per usable core, or one on CUDA.
        faces: a file of given faces that replaces detection, or None.
        weights: a weights file that the user brought, or None.
        skip_self_test: whether a provided network is not tried on a packaged picture first.
        replayed: the manifest of an earlier run whose faces are taken instead of
            detecting, or None; unlike ``faces`` it leaves the recipe as it was.
        allow_missing: whether images that ``faces`` says nothing of are withheld
            rather than the end of the run.
        profile_time: whether `tell` is given the CPU time by stage at the end.
        watch: called with every step forward.
        tell: called with a line for the user, now and then.
        stop: when set, the shards in hand are finished and the run pauses.

    Raises:
        UsageError: if a value has the wrong type or range.
    """

    layout: str = "auto"
    workers: int | None = None
    faces: Path | None = None
    weights: Path | None = None
    skip_self_test: bool = False
    replayed: Path | None = None
    allow_missing: bool = False
    profile_time: bool = False
    watch: Callable[[Snapshot], None] = field(default=lambda _: None)
    tell: Callable[[str], None] = field(default=lambda _: None)
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        workers = self.workers
        if workers is not None and (type(workers) is not int or not 1 <= workers <= 4096):
            raise UsageError(f"workers cannot be {workers!r}; give a whole number from 1 to 4096")
        for name in ("faces", "weights", "replayed"):
            path = getattr(self, name)
            if isinstance(path, str):
                object.__setattr__(self, name, Path(path))
            elif path is not None and not isinstance(path, Path):
                raise UsageError(f"{name} cannot be {path!r}; give a path")


def workers_for(recipe: Options, session: Session) -> int:
    """Processes to use: as asked, or one per usable core, or one where a GPU does the work."""
    if session.workers is not None:
        return session.workers
    if recipe.device == "cuda":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
