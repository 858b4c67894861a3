"""Plan a run from a measured sample: its time, cost, storage and network (``curate plan``)."""

from __future__ import annotations

import math
import random
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import curate
from curate.core.errors import UsageError
from curate.core.protocols import Source, iter_containers
from curate.core.records import ImageRecord, escape_unprintable
from curate.core.stages import STAGES, take_times
from curate.engine.shards import Shard
from curate.layouts import describe, open_source
from curate.manifest.store import save_part
from curate.pipeline.assembly import move_files
from curate.pipeline.preview import draw_sample, open_sample_tools
from curate.pipeline.progress import make_teller
from curate.pipeline.session import Session, configure, ignore, workers_for
from curate.pipeline.shard import process
from curate.pipeline.tools import check_recipe, pin_files
from curate.recipe import Recipe
from curate.report.document import Report
from curate.report.values import Bar, BarChart, Page, Section, Table
from curate.storage.errors import describe_os_error

_MOVED, _MANY = 500, 10_000
_ENGINE_START_S = {"local": 0.0, "ray": 8.0}
_PARALLEL = 0.9  # of linear scaling, once a machine's cores are all busy


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


@dataclass(frozen=True, slots=True)
class Costs:
    """What the images of a sample took.

    Args:
        sampled: images in the sample.
        withheld: those that would be withheld.
        start: seconds to load the models, once per worker.
        listing: seconds per image to list SOURCE.
        reading: seconds per image to read it for the first time.
        core: seconds of a core per image, reading apart.
        core_error: standard error of ``core``.
        stages: seconds of a core per image by stage.
        assembly: seconds per image to move it into the output, by one process.
        bytes_in: bytes per image of SOURCE.
        bytes_out: bytes per image of the output.
        manifest_bytes: bytes per image of the manifest.
        listed_bytes: bytes per image of the work folder's list.
    """

    sampled: int
    withheld: int
    start: float
    listing: float
    reading: float
    core: float
    core_error: float
    stages: Mapping[str, float]
    assembly: float
    bytes_in: float
    bytes_out: float
    manifest_bytes: float
    listed_bytes: float


@dataclass(frozen=True, slots=True)
class Estimate(Report):
    """The result of `plan`: what a run takes.

    Args:
        layout: layout of SOURCE.
        images: images of the run.
        workers: worker processes, each on a core of its own.
        engine: ``local`` or ``ray``.
        price: price of a core-hour, or None.
        shard_size: images per shard.
        rebuilt: whether images are inside containers that are written again.
        recipe: what is done.
        costs: what was measured.
    """

    layout: str
    images: int
    workers: int
    engine: str
    price: float | None
    shard_size: int
    rebuilt: bool
    recipe: Recipe
    costs: Costs

    @property
    def shards(self) -> int:
        """Number of shards, which is also the largest useful number of workers."""
        return -(-self.images // self.shard_size)

    def seconds(self, core: float | None = None) -> dict[str, float]:
        """Wall time by phase; listing and assembly are done by one process.

        Args:
            core: core seconds per image, or None for the measured mean.
        """
        costs = self.costs
        busy = min(self.workers, self.shards)
        share = _PARALLEL if busy > 1 else 1.0
        each = (costs.core if core is None else core) + costs.reading
        rounds = -(-self.shards // busy) * self.shard_size * each  # the last round may be partial
        even = self.images * each / busy
        return {
            "start": costs.start + _ENGINE_START_S[self.engine],
            "listing": self.images * costs.listing,
            "images": max(even, min(rounds, even + self.shard_size * each)) / share,
            "assembly": self.images * costs.assembly * (2 if self.rebuilt else 1),
        }

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the wall time, of the sample alone."""
        spread = 1.96 * self.costs.core_error
        low, high = max(self.costs.core - spread, 0.0), self.costs.core + spread
        return sum(self.seconds(low).values()), sum(self.seconds(high).values())

    @property
    def core_hours(self) -> float:
        """Core-hours that are paid: every worker for its images, one process for the rest."""
        seconds = self.seconds()
        alone = seconds["listing"] + seconds["assembly"]
        return (self.workers * (seconds["start"] + seconds["images"]) + alone) / 3600

    @property
    def storage(self) -> dict[str, float]:
        """Bytes on OUT's storage: what remains, and the most at any time."""
        costs = self.costs
        kept = self.images * (costs.bytes_out + costs.manifest_bytes)
        extra = self.images * costs.listed_bytes
        return {"out": kept, "peak": kept * (2 if self.rebuilt else 1) + extra}

    @property
    def network(self) -> dict[str, float]:
        """Bytes read and written, and bytes per second of all workers together."""
        costs = self.costs
        read = self.images * costs.bytes_in * (2 if self.rebuilt else 1)
        written = self.images * (costs.bytes_out + costs.manifest_bytes)
        return {
            "read": read,
            "written": written,
            "per_second": (read + written) / max(self.seconds()["images"], 1e-9),
        }

    @property
    def assumptions(self) -> list[str]:
        """What the plan takes for granted, a sentence each."""
        costs = self.costs
        lines = [
            f"The images are like the {costs.sampled} that were measured, drawn at random.",
            "Every worker has a core like this machine's, and nothing else runs on it; "
            f"together they reach {_PARALLEL:.0%} of linear scaling.",
            "SOURCE is read as fast as here; OUT is written without waiting for the storage.",
            "Listing SOURCE and assembling OUT are done by one process, at the speed of this "
            "machine's disk; a network file system is slower.",
            "Workers are paid from the start until the last image is done, as with --shards, and "
            "one process while it lists SOURCE and assembles OUT.",
            "No process is lost. One that is costs at most its shards in work "
            f"({self.shard_size} images each).",
        ]
        if self.engine == "ray":
            lines.append(f"Ray takes {_ENGINE_START_S['ray']:.0f} s to start.")
        if self.workers > self.shards:
            lines.append(f"Only {self.shards} workers are busy: there are no more shards.")
        if self.rebuilt:
            lines.append("Containers are read once more and written again at the end.")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        low, high = self.interval
        cost = None if self.price is None else self.core_hours * self.price
        return {
            "version": 1,
            "tool": {"name": "curate-dataset", "version": curate.__version__},
            "layout": self.layout,
            "images": self.images,
            "shards": self.shards,
            "workers": self.workers,
            "engine": self.engine,
            "recipe": self.recipe.to_dict(),
            "measured": {**asdict(self.costs), "stages": dict(self.costs.stages)},
            "seconds": {**self.seconds(), "total": sum(self.seconds().values()),
                        "low": low, "high": high},
            "core_hours": self.core_hours,
            "price_per_core_hour": self.price,
            "cost": cost,
            "storage_bytes": self.storage,
            "network_bytes": self.network,
            "assumptions": self.assumptions,
        }  # fmt: skip

    def to_text(self) -> str:
        """The estimate for the terminal."""
        low, high = map(format_duration, self.interval)
        seconds, network = self.seconds(), self.network
        phases = ", ".join(f"{name} {format_duration(each)}" for name, each in seconds.items())
        lines = [
            f"{self.images:,} images in {self.shards:,} shards, {self.workers:,} workers "
            f"({self.engine}).",
            f"Time {format_duration(sum(seconds.values()))} ({low} to {high}): {phases}.",
            f"{self.core_hours:,.1f} core-hours"
            + ("." if self.price is None else f", cost {self.core_hours * self.price:,.2f}."),
            f"Storage {format_bytes(self.storage['out'])}, at most "
            f"{format_bytes(self.storage['peak'])} meanwhile.",
            f"Network {format_bytes(network['read'])} read, {format_bytes(network['written'])} "
            f"written, {format_bytes(network['per_second'])}/s.",
            f"Measured on {self.costs.sampled} images: {1000 * self.costs.core:.1f} ms of a core, "
            f"{1000 * self.costs.reading:.1f} ms to read each; {self.costs.withheld} withheld.",
            "Assumptions:",
            *(f"- {line}" for line in self.assumptions),
        ]
        return "\n".join(lines)

    def to_page(self) -> Page:
        """The estimate as a page."""
        text = self.to_text().splitlines()
        stages = [*self.costs.stages.items(), ("read", self.costs.reading)]
        top = max(1000 * max(value for _, value in stages), 1e-6)
        chart = BarChart(
            "Milliseconds per image by stage",
            tuple(Bar(name, 1000 * value) for name, value in stages),
            (0.0, top),
            percent=False,
        )
        phases = [(name, format_duration(each)) for name, each in self.seconds().items()]
        return Page(
            "Plan of a run",
            tuple(text[:5]),
            (
                Section("Time", (Table("Wall time by phase", ("phase", "time"), phases),)),
                Section("Measured", (text[5], chart)),
                Section("Assumptions", tuple(self.assumptions)),
            ),
            f"curate-dataset {curate.__version__}, recipe {self.recipe.digest[:12]}",
        )

    def __repr__(self) -> str:
        return (
            f"<Estimate of {self.images:,} images with {self.workers:,} workers: "
            f"{format_duration(sum(self.seconds().values()))}, {self.core_hours:,.1f} core-hours>"
        )


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
        quiet: show no messages.
        changes: fields of `Recipe` and of `Session`; they override both.

    Raises:
        UsageError: if the options contradict each other.
        DataError: if SOURCE cannot be used.
        SetupError: if something is missing from the environment.
    """
    options = options or PlanOptions()
    recipe, session = configure(recipe, session, changes)
    recipe = pin_files(recipe, session)
    check_recipe(recipe)
    tell = make_teller(quiet) if session.tell is ignore else session.tell
    try:
        opened = open_source(str(source), session.layout)
        tell(escape_unprintable(describe(opened)))
        sample, splits = draw_sample(
            opened.records(), random.Random(recipe.seed), options.sample  # noqa: S311
        )  # fmt: skip
        found = sum(splits.values())
        listing = min(_time_listing(opened) for _ in range(1 if found > _MANY else 3))
        costs = _measure(opened, sample, listing, recipe, session)
    except OSError as error:
        raise describe_os_error(error, source, "read") from error
    images = options.images or found
    return Estimate(
        layout=opened.layout,
        images=images,
        workers=workers_for(recipe, session),
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
    source: Source, sample: Sequence[ImageRecord], listing: float, recipe: Recipe, session: Session
) -> Costs:
    """Process a sample in this process, one image at a time."""
    began = time.perf_counter()
    reading = bytes_in = bytes_out = 0.0
    cores, entries = list[float](), []
    with open_sample_tools(recipe, session, source) as tools:
        start = time.perf_counter() - began
        take_times()
        for record in sample:
            with _timed() as read:
                _try_to_read(source, record)
            clock = time.perf_counter if recipe.device == "cuda" else time.process_time
            before = clock()
            [(entry, data)] = process([record], Shard(0, (record,)), source, tools)
            cores.append(clock() - before)
            entries.append(entry)
            reading += read[0]
            bytes_in += entry.source_bytes or 0
            bytes_out += len(data or b"")
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


def format_duration(seconds: float) -> str:
    """A duration for people."""
    for limit, unit, text in ((90, 1, "s"), (5400, 60, "min"), (2 * 86_400, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.3g} {text}"
    return f"{seconds / 86_400:,.1f} days"


def format_bytes(count: float) -> str:
    """A number of bytes for people, in powers of 1000."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} PB"
