"""A dataset whose classes stand in its faces, and classifiers that see what they are made to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

import curate
from curate import Recipe, Session
from curate.impact.evaluate.run import EvaluateOptions, evaluate_impact
from curate.impact.predictions.report import ImpactReport

COLOURS = {"blue": 2, "green": 1, "red": 0}
IMAGES = 36
SIZE = (160, 120)
SIDE = 32


def make_dataset(folder: Path, images: int = IMAGES, suffix: str = ".jpg") -> Path:
    """Gray noise; in two images of three a square in the color of the class is the face."""
    random = np.random.default_rng(0)
    faces = []
    for number in range(images):
        name = sorted(COLOURS)[number % 3]
        path = folder / "val" / name / f"{number:03}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = random.normal(128, 6, (SIZE[1], SIZE[0], 1)).repeat(3, axis=2)
        x, y = int(random.integers(8, SIZE[0] - 72)), int(random.integers(8, SIZE[1] - 72))
        pixels[y : y + SIDE, x : x + SIDE] = [220 if c == COLOURS[name] else 20 for c in range(3)]
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=95)
        has_face = number % 9 < 6
        boxes = [{"xyxy": [x, y, x + SIDE, y + SIDE]}] if has_face else []
        faces.append({"file": str(path.relative_to(folder)), "faces": boxes})
    (folder.parent / "faces.json").write_text(json.dumps(faces))
    return folder


def obfuscate(source: Path, out: Path, **options: Any) -> Path:
    """Blur with the faces that `make_dataset` wrote."""
    recipe = Recipe(method="fill", method_options=(("color", "#000000"),), shard_size=8, **options)
    curate.blur(source, out, recipe, Session(workers=1, faces=source.parent / "faces.json"))
    return out


@dataclass(frozen=True, kw_only=True)
class Trial(EvaluateOptions):
    """Options with the datasets that they are used on."""

    original: str
    obfuscated: Path


def evaluate(trial: Trial, session: Session | None = None) -> ImpactReport:
    """Run the classifier of a trial."""
    session = session or Session(workers=1)  # in this process, where predictions are counted
    return evaluate_impact(trial.original, trial.obfuscated, trial, session)


class Colors:
    """Says which color it sees most of; without any it says ``blue``.

    Attributes:
        seen: how many images were predicted, over all that were made.
    """

    spec = "python:tests.impact.evaluate.trials:Colors"
    classes: tuple[str, ...] | None = tuple(sorted(COLOURS))
    seen: ClassVar[int] = 0

    def prepare(self, image: np.ndarray) -> np.ndarray:
        pixels = image.astype(np.int64)
        shares = [
            float(
                (pixels[..., c] > pixels[..., [o for o in range(3) if o != c]].max(-1) + 60).mean()
            )
            for c in range(3)
        ]
        black = float((pixels.max(axis=2) < 12).mean())
        return np.array([*shares, black], dtype=np.float32).reshape(4, 1, 1)

    def predict(self, batch: np.ndarray) -> np.ndarray:
        type(self).seen += len(batch)
        columns = [batch[:, COLOURS[name], 0, 0] for name in sorted(COLOURS)]
        return np.stack(columns, axis=1) * 20 + np.float32([0.1, 0.0, 0.0])

    def features(self, batch: np.ndarray) -> np.ndarray:
        return np.asarray(batch[:, :, 0, 0])

    def network(self) -> Any:
        raise NotImplementedError

    def describe(self) -> Mapping[str, Any]:
        return {
            "spec": self.spec, "weights_sha256": {}, "preprocess": {"counts": "colors"},
            "libraries": {}, "device": "cpu", "dtype": "float32",
        }  # fmt: skip


class Startled(Colors):
    """Is wrong wherever anything is black, whatever is hidden there."""

    spec = "python:tests.impact.evaluate.trials:Startled"

    def predict(self, batch: np.ndarray) -> np.ndarray:
        scores = super().predict(batch)
        return np.where(batch[:, 3, 0] > 0.01, np.roll(scores, 1, axis=1), scores)


class Nameless(Colors):
    """Does not say what its classes are called."""

    classes = None


class Broken(Colors):
    """Gives no number for red."""

    def predict(self, batch: np.ndarray) -> np.ndarray:
        scores = super().predict(batch)
        scores[batch[:, 0, 0, 0] > 0.01, 0] = np.nan
        return scores


class Wide(Colors):
    """Has one class more than it says."""

    def predict(self, batch: np.ndarray) -> np.ndarray:
        return np.pad(super().predict(batch), ((0, 0), (0, 1)))
