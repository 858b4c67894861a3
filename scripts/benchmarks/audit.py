"""The section on `curate audit`: time and memory."""

from __future__ import annotations

import csv
import random
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.plan import Plan
from benchmarks.processes import Usage, measure
from benchmarks.tables import Report

_METHOD = """\
Whole `curate audit` commands in fresh processes, each writing JSON and a page. FairFace's labels \
alone by race, gender and age, and all three crossed; and a made-up table of {rows:,} rows with 6 \
attributes of 4 to 9 values and 50 labels, by each attribute, two of them and three of them \
crossed. One run each."""

MAIN = "from curate.cli.main import main; main()"
_COLUMNS = ("a", "b", "c", "d", "e", "f")


def audit(plan: Plan) -> Report:
    """Seconds and memory of audits, small and large."""
    rows = 10_000 if plan.quick else 1_000_000
    report = Report("Audits", _METHOD.format(rows=rows))
    head = ("table", "rows", "seconds", "memory, MiB")
    lines = []
    with TemporaryDirectory(prefix="curate-bench-") as folder:
        labels = plan.data / "fairface" / "train_labels_only.csv"
        by = ("race", "gender", "age", "race,gender,age")
        lines.append(_run("FairFace", labels, by, Path(folder)))
        table = Path(folder) / "table.csv"
        make_table(table, rows)
        crossed = (*_COLUMNS, "a,b", "c,d,e")
        lines.append(_run("made up", table, crossed, Path(folder), "--label", "label"))
    for name, count, usage in lines:
        report.figures.append({"table": name, "rows": count, "seconds": usage.seconds,
                               "peak_mb": usage.peak_mb})  # fmt: skip
    cells = [
        (name, f"{count:,}", f"{usage.seconds:.1f}", f"{usage.peak_mb:.0f}")
        for name, count, usage in lines
    ]
    report.tables.append(("", head, cells))
    return report


def _run(
    name: str, table: Path, by: tuple[str, ...], folder: Path, *more: str
) -> tuple[str, int, Usage]:
    asked = [part for each in by for part in ("--by", each)]
    outputs = ["-o", str(folder / "audit.json"), "--html", str(folder / "audit.html"), "-q"]
    usage = measure([sys.executable, "-c", MAIN, "audit", str(table), *asked, *more, *outputs])
    with table.open(encoding="utf-8") as file:
        return name, sum(1 for _ in file) - 1, usage


def make_table(path: Path, rows: int) -> None:
    """A table of people whose groups are independent, the early ones the more frequent."""
    draw = random.Random(0)  # noqa: S311 - nothing is secret here
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(("id", *_COLUMNS, "label"))
        for number in range(rows):
            values = [f"v{min(int(draw.expovariate(0.35)), place + 3)}" for place in range(6)]
            label = f"l{draw.randrange(50)}"
            table.writerow((f"images/{number:07d}.jpg", *values, label))
