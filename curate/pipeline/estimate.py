"""The estimate of a run: time, cost, storage and network from the costs of a measured sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import curate
from curate.core.records import join_lines
from curate.recipe import Recipe
from curate.report.document import Report, describe_tool
from curate.report.numbers import NumberFormat, format_bytes, format_duration
from curate.report.values import Bar, BarChart, Page, Section, Table, find_domain

_ENGINE_START_S = {"local": 0.0, "ray": 8.0}
_MILLISECONDS = NumberFormat(2, 1000, " ms")
_PARALLEL = 0.9  # of linear scaling, once a machine's cores are all busy


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
            f"together they reach {100 * _PARALLEL:g} % of linear scaling.",
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
            "tool": describe_tool(),
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
            (f"{self.core_hours:,.1f}" if self.core_hours >= 0.05 else "Under 0.1")
            + " core-hours"
            + ("." if self.price is None else f", cost {self.core_hours * self.price:,.2f}."),
            f"Storage {format_bytes(self.storage['out'])}, at most "
            f"{format_bytes(self.storage['peak'])} meanwhile.",
            f"Network {format_bytes(network['read'])} read, {format_bytes(network['written'])} "
            f"written, {format_bytes(network['per_second'])}/s.",
            f"Measured on {self.costs.sampled} images: {_MILLISECONDS.value(self.costs.core)} of a "
            f"core, {_MILLISECONDS.value(self.costs.reading)} to read each"
            + (f"; {self.costs.withheld} withheld." if self.costs.withheld else "."),
            "Assumptions:",
            *(f"- {line}" for line in self.assumptions),
        ]
        return join_lines(lines)

    def to_page(self) -> Page:
        """The estimate as a page."""
        text = self.to_text().splitlines()
        stages = [*self.costs.stages.items(), ("read", self.costs.reading)]
        bars = tuple(Bar(name, value) for name, value in stages)
        chart = BarChart("Time per image by stage", bars, find_domain(bars), _MILLISECONDS)
        phases = [(name, format_duration(each)) for name, each in self.seconds().items()]
        low, high = map(format_duration, self.interval)
        verdict = (
            f"{format_duration(sum(self.seconds().values()))} ({low} to {high}) for "
            f"{self.images:,} images with {self.workers:,} workers."
        )
        return Page(
            "Plan of a run",
            tuple(text[:5]),
            (
                Section("Time", (Table("Wall time by phase", ("phase", "time"), phases),)),
                Section("Measured", (text[5], chart)),
                Section("Assumptions", tuple(self.assumptions)),
            ),
            f"curate-dataset {curate.__version__}, recipe {self.recipe.digest[:12]}",
            verdict,
        )

    def __repr__(self) -> str:
        return (
            f"<Estimate of {self.images:,} images with {self.workers:,} workers: "
            f"{format_duration(sum(self.seconds().values()))}, {self.core_hours:,.1f} core-hours>"
        )
