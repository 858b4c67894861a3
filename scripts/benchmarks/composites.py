"""The section on photos at camera resolution: labeled faces pasted on large photos."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from benchmarks import photos
from benchmarks.boxes import HIDDEN_SHARE, Answer, LabeledPhoto, Share, share_inside
from benchmarks.plan import Plan
from benchmarks.processes import BenchError
from benchmarks.tables import Report, format_share, share_figures
from benchmarks.tools import Tool, curates, defaces
from curate.core.geometry import Box

SEED = 11
SIZES = ((500, 400), (2000, 1000), (4000, 3000), (7360, 4912))
"""Width and height of the photos, pixels: 0.2, 2, 12 and 36 megapixels."""
PHOTOS, GRID = 6, (3, 3)
"""Photos of each size, and cells of each photo with a face in it."""
HEIGHTS = (24, 32, 40, 56, 72, 96)
"""Heights of the pasted faces, pixels, in turn."""
CONTEXT = 0.6
"""What is pasted around a face on every side, as a share of its longer side."""
NOISE = 2.0
"""Standard deviation of the noise of the enlarged backgrounds, gray levels."""
MIN_SOURCE = 40
EDGE = 0.2
"""Least distance of a face from the border of its source, as a share of its longer side."""

_METHOD = f"""\
{PHOTOS} photos of each size with {GRID[0] * GRID[1]} labeled faces each (of `wider` and \
`facemask`, at least {MIN_SOURCE} px high in the source, held-out photos only), scaled to \
{HEIGHTS[0]}–{HEIGHTS[-1]} px in turn and pasted with their surroundings and soft edges on \
enlarged held-out photos of animals with noise; the same faces at every size; seed {SEED}. \
*Hidden*: at least 80 % of the label lies inside the hidden regions. Per cent, with Wilson's 95 % \
intervals."""


@dataclass(frozen=True, slots=True)
class Source:
    """A labeled face in a photo."""

    path: Path
    box: Box


def composites(plan: Plan) -> Report:
    """Faces hidden in large photos, by tool, size of the photo and height of the face."""
    report = Report("Faces in photos at camera resolution", _METHOD)
    sizes = SIZES[:2] if plan.quick else SIZES
    rows: list[Sequence[str]] = []
    with TemporaryDirectory(prefix="curate-bench-") as name:
        for size in sizes:
            folder = Path(name) / f"{size[0]}x{size[1]}"
            made = list(make(plan.data, folder, size, 1 if plan.quick else PHOTOS))
            profiles = curates("fast", "balanced", "thorough", against=plan.against)
            tools: list[Tool] = [defaces()[0], *profiles]
            for tool in tools:
                print(f"  {tool.name}, {folder.name}", file=sys.stderr)
                try:
                    rows.append(_row(tool, size, made, tool.find(folder), report))
                except BenchError as error:
                    report.missing.append(f"{tool.name}, {folder.name}: {error}.")
    head = ("megapixels", "tool", "faces", "hidden, all %", "hidden, from 32 px %")
    report.tables = [("", head, rows)]
    return report


def _row(
    tool: Tool,
    size: tuple[int, int],
    made: Sequence[LabeledPhoto],
    answers: dict[str, Answer],
    report: Report,
) -> Sequence[str]:
    hidden = [
        (face.height, share_inside(face, answers[photo.file].hidden) >= HIDDEN_SHARE)
        for photo in made
        for face in photo.faces
    ]
    everything = Share(sum(done for _, done in hidden), len(hidden))
    larger = [done for height, done in hidden if height >= 31.5]
    rest = Share(sum(larger), len(larger))
    pixels = size[0] * size[1] / 1e6
    report.figures.append(
        {
            "tool": tool.name,
            "megapixels": round(pixels, 1),
            "all": share_figures(everything),
            "from_32": share_figures(rest),
        }
    )
    return (
        f"{pixels:.1f}",
        tool.name,
        str(len(hidden)),
        format_share(everything),
        format_share(rest),
    )


def make(data: Path, folder: Path, size: tuple[int, int], count: int) -> Iterator[LabeledPhoto]:
    """Write composites as JPEG files, and yield their labels; the same for the same data."""
    folder.mkdir(parents=True)
    faces = list(_sources(data))
    grounds = [p for p in photos.find(data, "animals") if photos.is_held_out(p.name)]
    chosen = np.random.default_rng(SEED).permutation(len(faces))  # the same at every size
    rng = np.random.default_rng([SEED, *size])
    for number in range(count):
        ground = grounds[int(rng.integers(len(grounds)))]
        canvas = _enlarged(_read(ground), size, rng)
        cell = (size[0] // GRID[0], size[1] // GRID[1])
        boxes = []
        for place in range(GRID[0] * GRID[1]):
            index = number * GRID[0] * GRID[1] + place
            source = faces[chosen[index % len(faces)]]
            height = min(HEIGHTS[index % len(HEIGHTS)], cell[1] // 3)
            corner = (place % GRID[0] * cell[0], place // GRID[0] * cell[1])
            boxes.append(_paste(canvas, source, height, corner, cell, rng))
        file = f"{number:02d}.jpg"
        ok = cv2.imwrite(str(folder / file), canvas[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])
        if not ok:
            raise BenchError(f"{folder / file} could not be written")
        yield LabeledPhoto(file, size[0], size[1], tuple(boxes))


def _sources(data: Path) -> Iterator[Source]:
    for name in photos.LABELED:
        for entry in json.loads((data / name / "faces.json").read_text(encoding="utf-8")):
            path = data / name / entry["file"]
            for face in entry["faces"]:
                box = Box(*face["xyxy"])
                clear = not (face.get("invalid") or face.get("blur") or face.get("occlusion"))
                edge = EDGE * max(box.width, box.height)
                inside = min(box.x0, box.y0) >= edge
                inside = inside and box.x1 + edge <= entry["width"]
                inside = inside and box.y1 + edge <= entry["height"]
                if photos.is_held_out(path.name) and box.height >= MIN_SOURCE and clear and inside:
                    yield Source(path, box)


def _enlarged(image: np.ndarray, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A photo stretched to a size, with noise, H×W×3 uint8."""
    large = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    for start in range(0, size[1], 512):
        strip = large[start : start + 512]
        noisy = strip + rng.normal(0, NOISE, strip.shape).astype(np.float32)
        large[start : start + 512] = np.clip(noisy, 0, 255).astype(np.uint8)
    return np.asarray(large)


def _paste(
    canvas: np.ndarray,
    source: Source,
    height: int,
    corner: tuple[int, int],
    cell: tuple[int, int],
    rng: np.random.Generator,
) -> Box:
    """Paste a face into a cell of the canvas; returns its label there."""
    image = _read(source.path)
    box, reach = source.box, CONTEXT * max(source.box.width, source.box.height)
    x0, y0 = max(int(box.x0 - reach), 0), max(int(box.y0 - reach), 0)
    x1 = min(int(box.x1 + reach), image.shape[1])
    y1 = min(int(box.y1 + reach), image.shape[0])
    factor = height / box.height
    patch = cv2.resize(
        image[y0:y1, x0:x1], None, fx=factor, fy=factor,
        interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC,
    )  # fmt: skip
    patch = patch[: cell[1], : cell[0]]
    x = corner[0] + int(rng.integers(cell[0] - patch.shape[1] + 1))
    y = corner[1] + int(rng.integers(cell[1] - patch.shape[0] + 1))
    soft = max(2, round(0.15 * height))
    weight = np.zeros(patch.shape[:2], np.float32)
    weight[soft:-soft, soft:-soft] = 1
    weight = cv2.GaussianBlur(weight, (0, 0), soft / 2)[..., None]
    part = canvas[y : y + patch.shape[0], x : x + patch.shape[1]]
    part[:] = np.round(weight * patch + (1 - weight) * part).astype(np.uint8)
    left, top = x + (box.x0 - x0) * factor, y + (box.y0 - y0) * factor
    return Box(left, top, left + box.width * factor, top + box.height * factor)


def _read(path: Path) -> np.ndarray:
    return np.asarray(cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))
