"""The section on `curate impact evaluate`: what the default recipe costs a real classifier."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import photos
from benchmarks.environments import ROOT
from benchmarks.plan import Plan
from benchmarks.processes import BenchError, Usage, measure
from benchmarks.tables import Report

_METHOD = """\
`curate blur` with its default recipe, then `curate impact evaluate` with the packaged ImageNet \
classifier (EfficientNet-lite0) and both control arms, whole commands in fresh processes. Top-1 \
accuracy; differences in percentage points with 95 % intervals over images. *Encoding* is \
reencoded − original, *hiding* random-region − reencoded, *faces* obfuscated − random-region: the \
three add up to *all*."""

_CURATE = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import curate.cli.main as m; m.main()"
_SETS = ("imagenet", "imagenette/val", "imagenette/train")
_STEPS = {
    "all": ("original", "obfuscated"),
    "encoding": ("original", "reencoded"),
    "hiding": ("reencoded", "random-region"),
    "faces": ("random-region", "obfuscated"),
}
_BLUR_ENDS = (0, 3)  # 3: images were withheld
_QUICK = 12


def trial(plan: Plan) -> Report:
    """What hiding faces costs on every set of photos with ImageNet's labels."""
    report = Report("What it costs a classifier", _METHOD)
    everything: list[Sequence[str]] = []
    with_faces: list[Sequence[str]] = []
    for name in _SETS:
        try:
            found, usage = _run(plan, name)
        except BenchError as error:
            report.missing.append(f"{name}: {error}.")
            continue
        steps = {(step["from"], step["to"]): step for step in found["arms"]["steps"]}
        present = found["by_presence"]["with_faces"]
        everything.append(_row(name, found["top1"], steps, "top1"))
        with_faces.append(_row(name, present, steps, "with_faces"))
        report.figures.append(
            {
                "set": name,
                "seconds": round(usage.seconds, 1),
                "cpu_seconds": round(usage.cpu_seconds, 1),
                "peak_mb": round(usage.peak_mb),
                **{key: found[key] for key in ("pairs", "top1", "top5", "mcnemar", "power")},
                "with_faces": present,
                "arms": found["arms"],
            }
        )
    head = ("photos", "images", "original %", "obfuscated %", *_STEPS)
    report.tables = [("All images:", head, everything), ("With faces:", head, with_faces)]
    return report


def _run(plan: Plan, name: str) -> tuple[Mapping[str, Any], Usage]:
    """Blur and evaluate one set; the report, and what the evaluation took."""
    print(f"  {name}", file=sys.stderr)
    with TemporaryDirectory(prefix="curate-bench-") as folder:
        place = Path(folder)
        source = plan.data / name
        if plan.quick:
            source = _take(source, photos.thin(photos.find(plan.data, name), _QUICK), place)
        command = [sys.executable, "-c", _CURATE]
        measure([*command, "blur", str(source), str(place / "out"), "--quiet"], _BLUR_ENDS)
        evaluate = [*command, "impact", "evaluate", str(source), str(place / "out")]
        usage = measure([*evaluate, "--device", "cpu", "--quiet", "-o", str(place / "i.json")])
        return json.loads((place / "i.json").read_text(encoding="utf-8")), usage


def _take(source: Path, few: Sequence[Path], place: Path) -> Path:
    """A folder with some of the photos, each below its class."""
    for path in few:
        target = place / "photos" / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return place / "photos"


def _row(
    name: str,
    change: Mapping[str, Any],
    steps: Mapping[tuple[str, str], Mapping[str, Any]],
    which: str,
) -> Sequence[str]:
    if not change["n"]:
        return (name, "0", *("–" for _ in range(2 + len(_STEPS))))
    return (
        name,
        f"{change['n']:,}",
        f"{100 * change['original']:.1f}",
        f"{100 * change['obfuscated']:.1f}",
        *(_points(steps[pair][which]) for pair in _STEPS.values()),
    )


def _points(step: Mapping[str, Any]) -> str:
    low, high = step["ci95"]
    return f"{_point(step['difference'])} ({_point(low)} to {_point(high)})"


def _point(share: float) -> str:
    return f"{100 * share:+.2f}".replace("-", "−")
