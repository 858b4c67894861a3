"""The section on `curate balance`: what corrections reach and cost, time and memory."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.audit import MAIN, make_table
from benchmarks.plan import Plan
from benchmarks.processes import Usage, measure
from benchmarks.tables import Report

_METHOD = """\
Whole `curate balance` commands in fresh processes, one run each. The 40,000 labels of FairFace \
(no images), by gender and race within each age; a simulated table of {rows:,} rows by one of its \
attributes within each of 50 labels; and FairFace's 240 photos, obfuscated first, by gender \
and race. *TV* is the total variation from the target, over all records and in the label where it \
is largest; V is Cramér's, of labels and groups; *effective* is the effective sample size."""

_LABELS = ("--by", "gender,race", "--within", "age")
_SIMULATED = ("--by", "a", "--within", "label")
_PHOTOS = ("--by", "gender,race", "--tolerance", "0.005")
_OBSERVED = ("--target", "observed")
_HEAD = (
    "records", "strategy", "kept", "removed", "added", "effective", "TV", "TV, worst label", "V",
    "seconds",
    "memory, MiB",
)  # fmt: skip


def balance(plan: Plan) -> Report:
    """What corrections reach, and seconds and memory."""
    rows = 10_000 if plan.quick else 1_000_000
    report = Report("Corrections", _METHOD.format(rows=rows))
    cells = []
    with TemporaryDirectory(prefix="curate-bench-") as name:
        folder = Path(name)
        labels = plan.data / "fairface" / "train_labels_only.csv"
        table = folder / "table.csv"
        make_table(table, rows)
        blurred = folder / "blurred"
        photos = plan.data / "fairface"
        measure([sys.executable, "-c", MAIN, "blur", str(photos), str(blurred), "-q"])
        groups = ("--groups", str(photos / "labels.csv"))
        asked = [
            ("FairFace's labels", labels, "reweigh", (*_LABELS, *_OBSERVED)),
            ("FairFace's labels", labels, "subset", (*_LABELS, *_OBSERVED)),
            ("FairFace's labels", labels, "oversample", (*_LABELS, *_OBSERVED)),
            ("simulated", table, "reweigh", (*_SIMULATED, *_OBSERVED)),
            ("simulated", table, "subset", (*_SIMULATED, *_OBSERVED)),
            ("FairFace's photos", blurred, "subset", (*_PHOTOS, *groups)),
            ("FairFace's photos", blurred, "augment", (*_PHOTOS, *groups)),
        ]
        for number, (what, source, strategy, more) in enumerate(asked):
            result, usage = _run(source, strategy, more, folder / str(number))
            cells.append(_row(what, strategy, result, usage))
            report.figures.append(
                {"records": what, "strategy": strategy, "counts": result["counts"],
                 "weights": result["weights"], "comparisons": result["comparisons"],
                 "seconds": usage.seconds, "peak_mb": usage.peak_mb}
            )  # fmt: skip
    report.tables.append(("", _HEAD, cells))
    return report


def _run(
    source: Path, strategy: str, more: tuple[str, ...], out: Path
) -> tuple[dict[str, Any], Usage]:
    file = out.with_suffix(".json")
    command = [sys.executable, "-c", MAIN, "balance", str(source), "--strategy", strategy, *more]
    usage = measure([*command, "-o", str(out), "--report", str(file), "-q"])
    return json.loads(file.read_text(encoding="utf-8")), usage


def _row(what: str, strategy: str, result: dict[str, Any], usage: Usage) -> tuple[str, ...]:
    counts = result["counts"]
    [found] = result["comparisons"].values()
    weights = result["weights"]
    return (
        what,
        f"`{strategy}`",
        *(f"{counts[key]:,}" for key in ("kept", "removed", "made")),
        f"{weights['effective_sample_size']:,.0f}" if weights else "–",
        *(_change(found, key) for key in ("total_variation", "worst_total_variation", "cramers_v")),
        f"{usage.seconds:.1f}",
        f"{usage.peak_mb:.0f}",
    )


def _change(found: dict[str, Any], key: str) -> str:
    before, after = found["before"][key], found["after"][key]
    return "–" if before is None else f"{before:.3f} → {after:.3f}"
