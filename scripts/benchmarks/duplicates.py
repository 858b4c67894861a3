"""The section on `curate duplicates`: recall and precision on planted copies, time and memory."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.plan import Plan
from benchmarks.processes import measure
from benchmarks.tables import Report
from curate import codec
from curate.core.geometry import turn
from curate.duplicates.hashing import (
    MIN_QUALITY,
    MIN_SIMILARITY,
    ORIENTATIONS,
    THRESHOLD,
    distance,
    make_fingerprint,
    similarity,
)

_METHOD = """\
One copy of each kind of {photos:,} photos (crowds, animals, COCO, ImageNet, face masks): a copy \
is found if its hash, or that of its mirror image, differs from the photo's in at most {bits} bits \
and the 32×32 gray images correlate to {least}. Precision: the same test on all {pairs:,} pairs \
of different photos. Time and memory of the exact search alone: {hashes:,} random hashes, plain \
and mirrored, in a fresh process on one thread."""

_FOLDERS = ("wider/images", "animals", "coco", "imagenet", "facemask/images")

_SEARCH = """
import numpy as np
from curate.duplicates import search
random = np.random.default_rng(0)
hashes = random.integers(0, 2**64, ({count}, 4), dtype=np.uint64)
mirrored = random.integers(0, 2**64, ({count}, 4), dtype=np.uint64)
pairs = sum(len(found[0]) for found in search.iter_pairs(hashes, {bits}))
pairs += sum(len(found[0]) for found in search.iter_matches(mirrored, hashes, {bits}))
assert pairs == 0
"""


def duplicates(plan: Plan) -> Report:
    """Recall by kind of copy, precision, and the cost of the search."""
    images = [_load(path) for path in plan.few(list(_iter_photos(plan.data)))]
    prints = [make_fingerprint(image) for image in images]
    count = len(images)
    hashes = 20_000 if plan.quick else 1_000_000
    report = Report(
        "Near-duplicates",
        _METHOD.format(photos=count, bits=THRESHOLD, least=MIN_SIMILARITY, hashes=hashes,
                       pairs=count * (count - 1) // 2),
    )  # fmt: skip
    cells = []
    for kind, change in _KINDS.items():
        copies = (make_fingerprint(np.ascontiguousarray(change(image))) for image in images)
        found = sum(_is_copy(a, b) for a, b in zip(prints, copies, strict=True))
        report.figures.append({"kind": kind, "found": found, "photos": count})
        cells.append((kind, f"{found:,} of {count:,}", f"{100 * found / count:.1f} %"))
    false = sum(_is_copy(a, b) for index, a in enumerate(prints) for b in islice(prints, index))
    report.figures.append({"kind": "different photos", "found": false})
    cells.append(("different photos (false pairs)", f"{false:,}", "–"))
    report.tables.append(("", ("copy", "found", "recall"), cells))
    usage = measure([sys.executable, "-c", _SEARCH.format(count=hashes, bits=THRESHOLD)])
    report.figures.append({"hashes": hashes, "seconds": usage.seconds, "peak_mb": usage.peak_mb})
    report.tables.append(
        (
            "",
            ("hashes", "seconds", "memory, MiB"),
            [(f"{hashes:,}", f"{usage.seconds:.0f}", f"{usage.peak_mb:.0f}")],
        )
    )
    return report


def _is_copy(a: Any, b: Any) -> bool:
    """Whether two fingerprints are of one picture, as in the command."""
    if min(a.quality, b.quality) < MIN_QUALITY:
        return False
    return any(
        distance(turned, b.hash) <= THRESHOLD
        and similarity(turn(a.gray, orientation), b.gray) >= MIN_SIMILARITY
        for orientation, turned in zip(ORIENTATIONS, a.hashes, strict=True)
    )


def _iter_photos(data: Path) -> Iterator[Path]:
    for folder in _FOLDERS:
        found = (data / folder).rglob("*")
        yield from sorted(p for p in found if p.suffix.lower() in (".jpg", ".jpeg"))


def _load(path: Path) -> np.ndarray:
    return codec.upright_rgb(codec.load(path.read_bytes()))


def _recompress(quality: int) -> Callable[[np.ndarray], np.ndarray]:
    def change(image: np.ndarray) -> np.ndarray:
        import cv2

        data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))

    return change


def _rescale(factor: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(image: np.ndarray) -> np.ndarray:
        import cv2

        how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=how))

    return change


def _brighten(factor: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda image: np.clip(image * factor, 0, 255).astype(np.uint8)


def _crop(share: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        y, x = round(height * share / 2), round(width * share / 2)
        return image[y : height - y, x : width - x]

    return change


_KINDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "JPEG, quality 50": _recompress(50),
    "JPEG, quality 20": _recompress(20),
    "half the size": _rescale(0.5),
    "1.7 × the size": _rescale(1.7),
    "30 % brighter": _brighten(1.3),
    "40 % darker": _brighten(0.6),
    "mirrored": lambda image: image[:, ::-1],
    "cropped by 2 %": _crop(0.02),
    "cropped by 5 %": _crop(0.05),
    "cropped by 10 %": _crop(0.10),
}
