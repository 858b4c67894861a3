"""The section on `curate impact predictions`: time and memory at ImageNet's size."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.environments import ROOT
from benchmarks.plan import Plan
from benchmarks.processes import BenchError, measure
from benchmarks.tables import Report

_METHOD = """\
`curate impact predictions` with the page, in a fresh process, on two Parquet files of simulated \
logits, {images} images of {classes} classes each, the second in another order. One run; *memory* \
is the peak resident size (`VmHWM`)."""

_CURATE = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import curate.cli.main as m; m.main()"
_CHUNK = 5_000  # images that are drawn at once


def impact(plan: Plan) -> Report:
    """Time and memory of 50,000 images and 1,000 classes."""
    images, classes = (2_000, 50) if plan.quick else (50_000, 1_000)
    report = Report(
        "Accuracy's cost at ImageNet's size",
        _METHOD.format(images=f"{images:,}", classes=f"{classes:,}"),
    )
    with TemporaryDirectory(prefix="curate-bench-") as folder:
        original, obfuscated = (Path(folder) / name for name in ("a.parquet", "b.parquet"))
        write_logits(original, images, classes, noise=0.0, step=1)
        write_logits(obfuscated, images, classes, noise=0.3, step=-1)
        outputs = ["-o", f"{folder}/impact.json", "--html", f"{folder}/impact.html"]
        command = [sys.executable, "-c", _CURATE, "impact", "predictions"]
        try:
            usage = measure([*command, str(original), str(obfuscated), *outputs])
        except BenchError as error:
            report.missing.append(f"{images:,} images: {error}.")
            return report
    report.figures.append(
        {
            "images": images,
            "classes": classes,
            "seconds": round(usage.seconds, 1),
            "cpu_seconds": round(usage.cpu_seconds, 1),
            "peak_mb": round(usage.peak_mb),
        }
    )
    row = (f"{usage.seconds:.0f}", f"{usage.cpu_seconds:.0f}", f"{usage.peak_mb:.0f}")
    report.tables = [("", ("seconds", "CPU seconds", "memory, MB"), [row])]
    return report


def write_logits(path: Path, images: int, classes: int, noise: float, step: int) -> None:
    """Write simulated predictions: the same images whatever the noise, in either order.

    Args:
        path: the Parquet file.
        images: rows.
        classes: scores in each.
        noise: standard deviation of what obfuscation adds to every score.
        step: 1 for the images in order, -1 for the last first.
    """
    kind = pa.list_(pa.float32())
    schema = pa.schema([("id", pa.string()), ("label", pa.int64()), ("logits", kind)])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, images, _CHUNK)[::step]:
            count = min(_CHUNK, images - start)
            random = np.random.default_rng(start)
            labels = np.arange(start, start + count) % classes
            logits = random.normal(size=(count, classes))
            logits[np.arange(count), labels] += 3.5
            logits += noise * random.normal(size=logits.shape)
            table = {
                "id": [f"val/{number:08}.jpg" for number in range(start, start + count)][::step],
                "label": labels[::step],
                "logits": pa.array(list(logits[::step].astype(np.float32)), kind),
            }
            writer.write_table(pa.table(table, schema=schema))
