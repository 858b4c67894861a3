"""Measure the costs of a sample, from which ``curate plan`` estimates a run."""

from __future__ import annotations

import math
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from curate.core.arguments import checked
from curate.core.errors import DataError, UsageError
from curate.core.protocols import Source, iter_containers
from curate.core.records import ImageRecord, escape_unprintable
from curate.core.stages import STAGES, take_times
from curate.engine.shards import Shard
from curate.layouts import describe, explain_no_images, open_source
from curate.manifest.store import save_part
from curate.pipeline.assembly import move_files
from curate.pipeline.estimate import Costs, Estimate
from curate.pipeline.preview import draw_sample, open_sample_tools
from curate.pipeline.progress import make_notifier, show_steps
from curate.pipeline.session import Session, Step, configure, count_workers, ignore
from curate.pipeline.shard import process_images
from curate.pipeline.tools import prepare_recipe
from curate.recipe import Recipe
from curate.storage.errors import describe_os_error

_MOVED, _MANY = 500, 10_000


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What a plan is made for.

    Args:
        sample: images that are measured, drawn at random.
        images: number of images of the run, or None for those of SOURCE.
        price: price of a core-hour, in any currency, or None.

    Raises:
        UsageError: if a value is out of range.
    """

    sample: int = 48
    images: int | None = None
    price: float | None = None

    def __post_init__(self) -> None:
        if not 2 <= self.sample <= 100_000:
            raise UsageError(f"sample cannot be {self.sample}; give 2 to 100000 images")
        if self.images is not None and not 1 <= self.images <= 10**12:
            raise UsageError(f"images cannot be {self.images}; give 1 to 10^12")
        if self.price is not None and not (math.isfinite(self.price) and 0 <= self.price <= 1e6):
            raise UsageError(f"price cannot be {self.price}; give the price of a core-hour")


@checked
def plan(
    source: str | Path,
    options: PlanOptions | None = None,
    recipe: Recipe | None = None,
    session: Session | None = None,
    *,
    quiet: bool = False,
    **changes: Any,
) -> Estimate:
    """Estimate time, cost, storage and network of a run, from a measured sample of SOURCE.

    >>> curate.plan("photos", workers=64, engine="ray")          # doctest: +SKIP
    <Estimate of 1,000,000 images with 64 workers: 42 min, 45.1 core-hours>

    Args:
        source: path or URI of the dataset; only read.
        options: what the plan is made for, or None for the defaults.
        recipe: what the run would do, or None for the defaults.
        session: how it would run, or None for the defaults.
        quiet: show no progress and no messages.
        changes: fields of `Recipe` and of `Session`; they override both.

    Raises:
        UsageError: if the options contradict each other.
        DataError: if SOURCE cannot be used.
        SetupError: if something is missing from the environment.
    """
    options = options or PlanOptions()
    recipe, session = configure(recipe, session, changes)
    recipe = prepare_recipe(recipe, session)
    notify = make_notifier(quiet) if session.notify is ignore else session.notify
    try:
        opened = open_source(str(source), session.layout)
        notify(escape_unprintable(describe(opened)))
        sample, splits = draw_sample(
            opened.records(), random.Random(recipe.seed), options.sample  # noqa: S311
        )  # fmt: skip
        found = sum(splits.values())
        if not found:
            raise DataError(explain_no_images(opened))
        listing = min(_time_listing(opened) for _ in range(1 if found > _MANY else 3))
        with show_steps(quiet) as watch:
            costs = _measure(opened, sample, listing, recipe, session, watch)
    except OSError as error:
        raise describe_os_error(error, source, "read") from error
    images = options.images or found
    return Estimate(
        layout=opened.layout,
        images=images,
        workers=count_workers(recipe, session),
        engine=session.engine.partition(":")[0],
        price=options.price,
        shard_size=recipe.shard_size_for(images),
        rebuilt=next(iter_containers(opened), None) is not None,
        recipe=recipe,
        costs=costs,
    )


def _time_listing(source: Source) -> float:
    """Seconds per record to list a dataset, from its first record on."""
    began, count = 0.0, 0
    for record in source.records():
        source.stamp(record)
        began = began or time.perf_counter()
        count += 1
    return (time.perf_counter() - began) / max(count - 1, 1)


def _measure(
    source: Source, sample: Sequence[ImageRecord], listing: float, recipe: Recipe, session: Session,
    watch: Callable[[Step], None],
) -> Costs:  # fmt: skip
    """Process a sample in this process, one image at a time."""
    began = time.perf_counter()
    reading = bytes_in = bytes_out = 0.0
    cores, entries = list[float](), []
    with open_sample_tools(recipe, session, source) as tools:
        start = time.perf_counter() - began
        take_times()
        for number, record in enumerate(sample, start=1):
            with _timed() as read:
                _try_to_read(source, record)
            clock = time.perf_counter if recipe.device == "cuda" else time.process_time
            before = clock()
            [(entry, data)] = process_images([record], Shard(0, (record,)), source, tools)
            cores.append(clock() - before)
            entries.append(entry)
            reading += read[0]
            bytes_in += entry.source_bytes or 0
            bytes_out += len(data or b"")
            watch(Step("measuring", "images", number, len(sample)))
        stages = take_times()
    count = len(sample)
    with tempfile.TemporaryDirectory() as folder:
        part = Path(folder, "part.parquet")
        save_part(entries, part)
        manifest_bytes = part.stat().st_size / count
        assembly = min(_measure_assembly(Path(folder, str(n))) for n in range(3))
    return Costs(
        sampled=count,
        withheld=sum(entry.reason is not None for entry in entries),
        start=start,
        listing=listing,
        reading=reading / count,
        core=fmean(cores),
        core_error=stdev(cores) / math.sqrt(count) if count > 1 else 0.0,
        stages={name: stages.get(name, 0.0) / count for name in STAGES},
        assembly=assembly,
        bytes_in=bytes_in / count,
        bytes_out=bytes_out / count,
        manifest_bytes=manifest_bytes,
        listed_bytes=fmean(len(record.id) + len(record.uri) + 60.0 for record in sample),
    )


@contextmanager
def _timed() -> Iterator[list[float]]:
    spent = [0.0]
    began = time.perf_counter()
    yield spent
    spent[0] = time.perf_counter() - began


def _try_to_read(source: Source, record: ImageRecord) -> None:
    try:
        source.read(record)
    except Exception:  # the image will be withheld, with its reason
        return


def _measure_assembly(folder: Path) -> float:
    """Seconds per file to move it into the output."""
    (folder / "shard").mkdir(parents=True)
    for number in range(_MOVED):
        (folder / "shard" / str(number)).touch()
    with _timed() as spent:
        move_files(folder / "shard", folder / "data")
    return spent[0] / _MOVED
