"""The section on `curate impact train`: the four cells, from scratch and by a probe."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.environments import ROOT
from benchmarks.plan import Plan
from benchmarks.processes import BenchError, Usage, measure
from benchmarks.tables import Report

_METHOD = """\
`curate blur` with its default recipe on imagenette's photos, then `curate impact train` with its \
defaults (networks from scratch) and with `--probe imagenet` (a linear classifier on the packaged \
model's frozen features), whole commands in fresh processes on the processor. Top-1 accuracy in \
per cent, gaps in percentage points, with 95 % intervals over images and, from scratch, seeds."""

_CURATE = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import curate.cli.main as m; m.main()"
_SET = "imagenette"
_WAYS = {"from scratch": (), "probe": ("--probe", "imagenet")}
_QUICK = {"from scratch": ("--epochs", "2", "--size", "16", "--seeds", "2"), "probe": ()}
_DATASETS = ("original", "obfuscated")
_BLUR_ENDS = (0, 3)  # 3: images were withheld


def train(plan: Plan) -> Report:
    """What training on obfuscated photos costs, and what finding out takes."""
    report = Report("What training on obfuscated photos costs", _METHOD)
    cells: list[Sequence[str]] = []
    gaps: list[Sequence[str]] = []
    times: list[Sequence[str]] = []
    with TemporaryDirectory(prefix="curate-bench-") as folder:
        place = Path(folder)
        source = plan.data / _SET
        command = [sys.executable, "-c", _CURATE]
        measure([*command, "blur", str(source), str(place / "out"), "--quiet"], _BLUR_ENDS)
        for name, options in _WAYS.items():
            print(f"  {name}", file=sys.stderr)
            more = (*options, *(_QUICK[name] if plan.quick else ()))
            try:
                found, usage = _run(source, place, more)
            except BenchError as error:
                report.missing.append(f"{name}: {error}.")
                continue
            cells += _cells(name, found)
            gaps += _gaps(name, found)
            times.append(_time(name, usage))
            report.figures.append(_figures(name, found, usage))
    report.tables = [
        ("Top-1, %:", ("", "trained on", "tested on original", "tested on obfuscated"), cells),
        ("Gaps, points:", ("", "gap", "all", "with faces", "without faces"), gaps),
        ("", ("", "seconds", "CPU seconds", "largest process, MB"), times),
    ]
    return report


def _run(source: Path, place: Path, options: Sequence[str]) -> tuple[Mapping[str, Any], Usage]:
    out = place / "train.json"
    command = [sys.executable, "-c", _CURATE, "impact", "train", str(source), str(place / "out")]
    usage = measure([*command, "--device", "cpu", "--quiet", "-o", str(out), *options])
    return json.loads(out.read_text(encoding="utf-8")), usage


def _cells(name: str, found: Mapping[str, Any]) -> list[Sequence[str]]:
    return [
        (name, trained, *(_share(found["cells"][trained][tested]["top1"]) for tested in _DATASETS))
        for trained in _DATASETS
    ]


def _gaps(name: str, found: Mapping[str, Any]) -> list[Sequence[str]]:
    presence = found["by_presence"]
    return [
        (
            name,
            gap,
            _points(both["top1"]),
            *(_points(presence[part]["gaps"][gap]) for part in ("with_faces", "without_faces")),
        )
        for gap, both in found["gaps"].items()
    ]


def _time(name: str, usage: Usage) -> Sequence[str]:
    return (name, f"{usage.seconds:.0f}", f"{usage.cpu_seconds:.0f}", f"{usage.peak_mb:.0f}")


def _figures(name: str, found: Mapping[str, Any], usage: Usage) -> dict[str, Any]:
    return {
        "way": name,
        "seconds": round(usage.seconds, 1),
        "cpu_seconds": round(usage.cpu_seconds, 1),
        "peak_mb": round(usage.peak_mb),
        **{key: found[key] for key in ("images", "seeds", "cells", "gaps", "by_presence")},
        "classes_moved": {
            gap: [each["category"] for each in found["per_class"] if each[gap]["kind"] != "none"]
            for gap in ("deployment", "diagonal")
        },
    }


def _share(estimate: Mapping[str, Any]) -> str:
    low, high = estimate["ci95"]
    return f"{100 * estimate['value']:.1f} ({100 * low:.1f}–{100 * high:.1f})"


def _points(estimate: Mapping[str, Any]) -> str:
    if estimate["value"] is None:
        return "–"
    low, high = estimate["ci95"]
    return f"{_point(estimate['value'])} ({_point(low)} to {_point(high)})"


def _point(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "−")
