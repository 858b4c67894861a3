"""How to run, as opposed to what to do, and how far a run is."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from curate.core.errors import MissingExtraError, UsageError, suggest
from curate.core.records import as_names
from curate.detectors import resolve_device
from curate.detectors.device import gpu_memory
from curate.engine.leases import TIMEOUT_S
from curate.recipe import Options, Recipe


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Progress of a run over a dataset.

    Args:
        total: images in SOURCE.
        images: images done, those of earlier attempts included.
        resumed: images that an earlier attempt had done.
        faces: faces hidden so far, or None where they are not counted.
        withheld: images withheld so far, in committed shards.
        removed: images removed so far, in committed shards; None but for corrections.
        added: copies of images added so far, in committed shards; None but for corrections.
    """

    total: int
    images: int = 0
    resumed: int = 0
    faces: int | None = 0
    withheld: int = 0
    removed: int | None = None
    added: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """Progress of one step of a run.

    Args:
        what: the step.
        unit: what is counted, in the plural.
        done: how many are done.
        total: how many there are, or None if unknown.
    """

    what: str
    unit: str
    done: int
    total: int | None


@dataclass(frozen=True, slots=True)
class Done:
    """What `run_shards` did.

    Args:
        shards: shards of this process.
        counts: images, faces and withheld images in them, also of shards that others committed.
        now: images that this process has processed.
        total: shards of all processes.
    """

    shards: int
    counts: dict[str, int]
    now: int
    total: int


def ignore(_: object) -> None:
    """Ignore progress and messages."""


@dataclass(frozen=True, slots=True)
class Session:
    """How to run, as opposed to what to do; nothing here can change an output.

    Args:
        layout: SOURCE's layout, or ``auto`` to recognize it.
        workers: worker processes, or None for one per usable core, one on CUDA.
        faces: a file of face boxes to use instead of a detector, or None.
        weights: a weights file of the user, or None.
        skip_self_test: whether the self-test of a user's network on a packaged image is skipped.
        replayed: the manifest of an earlier run whose faces are used instead of a
            detector, or None; unlike ``faces`` it leaves the recipe as it was.
        allow_missing: whether images without an entry in ``faces`` are withheld
            instead of ending the run.
        engine: ``local``, or ``ray`` for a Ray cluster that is started on this machine, or
            ``ray:ADDRESS`` for a running one: ``HOST:PORT``, ``ray://HOST:PORT`` or ``auto``.
        shard_timeout: on Ray, seconds without progress on a shard after which its worker is
            replaced.
        shards: ``i/n``, or the numbers i and n: this process does every n-th shard, from the
            i-th, and leaves the rest to others; or None.
        finish: whether the run only assembles OUT, of shards that other processes committed.
        lease_timeout: seconds without a sign of life after which the work of another process
            on the same OUT is taken over.
        update: whether a finished OUT is brought up to date with ``faces``; only images whose
            faces, review state or bytes differ are obfuscated again.
        profile_time: whether `notify` is given the CPU time by stage at the end.
        sign: an SSH key that signs the manifest at the end, or None.
        watch: called with the progress of the run.
        notify: called with messages for the user, a line each.
        stop: when set, the shards in work are finished and the run pauses.

    Raises:
        UsageError: if a value has the wrong type or is out of range.
    """

    layout: str = "auto"
    workers: int | None = None
    faces: Path | None = None
    weights: Path | None = None
    skip_self_test: bool = False
    replayed: Path | None = None
    allow_missing: bool = False
    engine: str = "local"
    shard_timeout: float = 300.0
    shards: tuple[int, int] | None = None
    finish: bool = False
    lease_timeout: float = TIMEOUT_S
    update: bool = False
    profile_time: bool = False
    sign: Path | None = None
    watch: Callable[[Snapshot], None] = ignore
    notify: Callable[[str], None] = ignore
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        workers = self.workers
        if workers is not None and (type(workers) is not int or not 1 <= workers <= 4096):
            raise UsageError(f"workers cannot be {workers!r}; give a whole number from 1 to 4096")
        if self.shards is not None:
            object.__setattr__(self, "shards", parse_shards(self.shards))
            if self.finish:
                raise UsageError("give either --shards, in every process, or --finish afterwards")
        for name in ("lease_timeout", "shard_timeout"):
            if not _is_seconds(getattr(self, name)):
                raise UsageError(f"{name} cannot be {getattr(self, name)!r}; give seconds")
        _check_engine(self.engine)
        for name in ("faces", "weights", "replayed", "sign"):
            path = getattr(self, name)
            if isinstance(path, str):
                object.__setattr__(self, name, Path(path))
            elif path is not None and not isinstance(path, Path):
                raise UsageError(f"{name} cannot be {path!r}; give a path")


def parse_shards(value: object) -> tuple[int, int]:
    """Parse ``i/n`` of ``--shards``, with i from 1 to n; the two numbers are accepted too.

    Raises:
        UsageError: if it is anything else.
    """
    parts = value.split("/") if isinstance(value, str) else value
    try:
        index, count = map(int, parts)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        index, count = 0, 0
    if not 1 <= index <= count <= 1_000_000:
        raise UsageError(f"shards cannot be {value!r}; give i/n with i from 1 to n, such as 3/16")
    return index, count


def _check_engine(engine: object) -> None:
    name, colon, address = engine.partition(":") if isinstance(engine, str) else ("", "", "")
    if not (engine == "local" or (name == "ray" and bool(address) == bool(colon))):
        raise UsageError(f"engine cannot be {engine!r}; give local, ray or ray:ADDRESS")
    if name == "ray" and find_spec("ray") is None:  # before anything is read or printed
        raise MissingExtraError("--engine ray", "ray", "ray")


def _is_seconds(value: object) -> bool:
    return type(value) in (int, float) and 0 < value <= 86_400  # type: ignore[operator]


def configure(
    recipe: Recipe | None, session: Session | None, options: Mapping[str, Any]
) -> tuple[Recipe, Session]:
    """Apply keyword arguments of a public function to a recipe and a session.

    Args:
        recipe: what to do, or None for the defaults.
        session: how to run, or None for the defaults.
        options: values by the name of a field of `Recipe` or of `Session`; the device can
            also be ``auto``, and one name stand for a tuple of it.

    Raises:
        UsageError: if a name is not such a field, or a value is not valid.
    """
    recipe, session = recipe or Recipe(), session or Session()
    of_recipe = {each.name for each in fields(Recipe)}
    of_session = {each.name for each in fields(Session)}
    for name in options:
        if name not in of_recipe | of_session:
            hint = suggest(name, sorted(of_recipe | of_session))
            raise UsageError(f"unknown option {name!r}{hint}")
    chosen = {name: value for name, value in options.items() if name in of_recipe}
    for name in {"keep_metadata", "include", "drop_keys"} & set(chosen):
        chosen[name] = as_names(chosen[name])
    if chosen.get("device") == "auto":
        chosen["device"] = resolve_device("auto")
    if chosen:
        recipe = Recipe.from_dict({**_shallow(recipe), **chosen})
    return recipe, replace(session, **{n: v for n, v in options.items() if n in of_session})


def _shallow(recipe: Recipe) -> dict[str, Any]:
    return {each.name: getattr(recipe, each.name) for each in fields(recipe)}


def count_workers(recipe: Options, session: Session, gpu_bytes: int = 4 << 30) -> int:
    """Worker processes of a run: as given, else one per usable core.

    On CUDA there are no more than fit in the device's memory: reading and writing images takes
    the processor longer than finding faces takes the device.

    Args:
        recipe: names the device.
        session: may give a number.
        gpu_bytes: memory of a CUDA device that one worker may need.
    """
    if session.workers is not None:
        return session.workers
    if recipe.device != "cuda":
        return count_cores()
    return max(1, min(count_cores(), gpu_memory() // gpu_bytes))


def count_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
