"""The sections on large runs: plan (on paper) and scale (engines, and many shards)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks import photos
from benchmarks.plan import Plan
from benchmarks.processes import BenchError, measure
from benchmarks.tables import Report, format_spread

_PLAN = """\
`curate plan`: what runs of 10⁶, 10⁸ and 10⁹ images take, on paper, from {count} photos like \
ImageNet's that were measured on this machine, at each profile. Cost at {price} per core-hour of \
any currency. Assumptions: {assumptions}"""

_SCALE = """\
*Engines*: whole `curate blur` commands, profile `fast`, two workers, the same {many} small \
photos, in turn, medians over {rounds}; start-up is left out: the time of the same command on \
{few} photos is taken off. *Shards*: a work folder with committed shards of 256 images is opened \
by a fresh process, which lists them, adds up their counts and looks for work; memory is the peak \
resident size of that process."""

_PRICE = 0.04
_SIZES = ((10**6, 64), (10**8, 2048), (10**9, 16_384))


def plan(plan: Plan) -> Report:
    """Runs that nobody makes for a benchmark, from measured figures per stage."""
    from curate.pipeline.plan import PlanOptions
    from curate.pipeline.plan import plan as estimate
    from curate.report.numbers import format_bytes, format_duration

    found = photos.find(plan.data, "imagenet", "animals", "coco/images", "imagenette/val")
    chosen = photos.thin(found, 12 if plan.quick else 120)
    options = PlanOptions(sample=len(chosen), price=_PRICE)
    stages: list[Sequence[str]] = []
    rows: list[Sequence[str]] = []
    report = Report("Large runs on paper", "")
    with TemporaryDirectory(prefix="curate-bench-") as folder:
        source = Path(folder) / "photos"
        photos.copy(chosen, plan.data, source)
        for profile in ("fast", "balanced", "thorough"):
            measured = estimate(source, options, quiet=True, profile=profile, workers=1)
            costs = measured.costs
            times = {**costs.stages, "read": costs.reading, "list": costs.listing,
                     "assemble": costs.assembly}  # fmt: skip
            stages.append((profile, *(f"{1000 * each:.2f}" for each in times.values())))
            head = ("profile, ms per image", *times)
            for images, workers in _SIZES:
                one = replace(measured, images=images, workers=workers, shard_size=256)
                low, high = one.interval
                seconds = one.seconds()
                rows.append((
                    profile, f"{images:,}", f"{workers:,}",
                    f"{format_duration(sum(seconds.values()))} "
                    f"({format_duration(low)}–{format_duration(high)})",
                    format_duration(seconds["listing"] + seconds["assembly"]),
                    f"{one.core_hours:,.0f}", f"{one.core_hours * _PRICE:,.0f}",
                    format_bytes(one.storage["peak"]), format_bytes(one.network["per_second"]),
                ))  # fmt: skip
                report.figures.append({**one.to_dict(), "profile": profile})
    report.method = _PLAN.format(
        count=len(chosen), price=_PRICE, assumptions=" ".join(one.assumptions)
    )
    report.tables = [
        ("Measured:", head, stages),
        ("", ("profile", "images", "workers", "time", "of it by one process", "core-hours", "cost",
              "storage", "network per second"), rows),
    ]  # fmt: skip
    return report


def scale(plan: Plan) -> Report:
    """Ray against the local engine, and thousands of shards listed and resumed."""
    many, few = (24, 8) if plan.quick else (2000, 200)
    rounds = "1 round" if plan.repeats == 1 else f"{plan.repeats} rounds"
    report = Report("Engines and many shards", _SCALE.format(many=many, few=few, rounds=rounds))
    report.tables.append(_time_engines(plan, many, few, report))
    rows: list[Sequence[str]] = []
    for shards in (10, 100) if plan.quick else (100, 1000, 10_000):
        usage = _time_shards(shards)
        rows.append((
            f"{shards:,}", f"{256 * shards:,}", f"{usage['seconds']:.2f}",
            f"{usage['peak_mb']:.0f}",
        ))  # fmt: skip
        report.figures.append({"shards": shards, **usage})
    report.tables.append(
        ("", ("committed shards", "images", "seconds to resume", "memory, MB"), rows)
    )
    return report


def _time_engines(
    plan: Plan, many: int, few: int, report: Report
) -> tuple[str, Sequence[str], list[Sequence[str]]]:
    seconds: dict[tuple[str, int], list[float]] = {}
    with TemporaryDirectory(prefix="curate-bench-") as folder:
        work = Path(folder)
        small = photos.make_small(plan.data, work / "small")
        for count in (many, few):
            photos.multiply(small, count, work / str(count))
        for number in range(plan.repeats):
            for engine in ("local", "ray") if number % 2 == 0 else ("ray", "local"):
                for count in (many, few):
                    out = work / f"{engine}-{count}-{number}"
                    command = [
                        sys.executable, "-m", "curate", "blur", str(work / str(count)), str(out),
                        "--profile", "fast", "--workers", "2", "--engine", engine, "--quiet",
                    ]  # fmt: skip
                    print(f"  {engine}, {count} photos, round {number + 1}", file=sys.stderr)
                    try:
                        usage = measure(command, accept=(0, 3))
                    except BenchError as error:
                        report.missing.append(f"{engine}, {count} photos: {error}.")
                        continue
                    seconds.setdefault((engine, count), []).append(usage.seconds)
                    report.figures.append({"engine": engine, "photos": count, **asdict(usage)})
    head = ("engine", "start-up and few photos, s", "photos/s once started", "times local")
    rows: list[Sequence[str]] = []
    rates: dict[str, list[float]] = {}
    for engine in ("local", "ray"):
        long, short = seconds.get((engine, many), []), seconds.get((engine, few), [])
        if not long or not short:
            continue
        began = median(short)
        rates[engine] = [(many - few) / max(each - began, 1e-9) for each in long]
        ratios = [a / b for a, b in zip(rates[engine], rates["local"], strict=False)]
        rows.append((engine, f"{began:.1f}", f"{median(rates[engine]):.1f}", format_spread(ratios)))
    return ("", head, rows)


_RESUME = """
import json, resource, sys, time
from pathlib import Path
from types import SimpleNamespace
from curate import Recipe, Session
from curate.engine.leases import Leases
from curate.pipeline.shard_queue import ShardQueue
from curate.pipeline.workspace import Workspace, load_plan
began = time.perf_counter()
workspace = Workspace(Path(sys.argv[1]))
with Leases(workspace.leases) as leases:
    run = SimpleNamespace(
        workspace=workspace, leases=leases, session=Session(), remote=None,
        recipe=Recipe(shard_size=256),
    )
    queue = ShardQueue(run, load_plan(workspace.plan))
    left = sum(1 for _ in queue)
assert not left and queue.counts["images"] == queue.images, (left, queue.counts)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"seconds": time.perf_counter() - began, "peak_mb": peak}))
"""


def _time_shards(shards: int) -> dict[str, float]:
    """Resume a run whose shards are all committed; no image is read."""
    from curate.pipeline.workspace import Workspace

    with TemporaryDirectory(prefix="curate-bench-") as folder:
        workspace = Workspace(Path(folder) / "out")
        workspace.root.mkdir(parents=True)
        with workspace.plan.open("w") as file:
            for number in range(256 * shards):
                name = f"train/n{number % 1000:08d}/n{number % 1000:08d}_{number}.jpg"
                line = [name, f"/data/imagenet/{name}", "train", "n", f"{number}:1700000000"]
                file.write(json.dumps(line) + "\n")
        for number in range(shards):
            shard = workspace.shards / f"{number:05d}"
            shard.mkdir(parents=True)
            counts = {"images": 256, "faces": 9, "withheld": 0}
            (shard / "tally.json").write_text(json.dumps(counts))
        done = subprocess.run(
            [sys.executable, "-c", _RESUME, str(workspace.out)], capture_output=True, text=True
        )
    if done.returncode:
        raise BenchError(f"{shards} shards could not be resumed: {done.stderr[-300:]}")
    return dict(json.loads(done.stdout))
