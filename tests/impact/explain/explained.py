"""A small dataset with known faces, and a classifier that is known to look at one place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn

import curate
from curate import Recipe, Session
from curate.core.protocols import Pixels
from tests.impact.explain.attribution.networks import box_mask

SIDE = 64
FACE = (6, 4, 24, 22)
"""In pixels of the image as stored; blur hides a few more on each side."""

AT_FACE = box_mask(slice(3, 10), slice(4, 11))
ELSEWHERE = box_mask(slice(24, 31), slice(20, 31))
RED, BLUE = (200, 30, 40), (30, 40, 210)


class ColorAt(nn.Module):
    """Says red, green or blue by the mean color inside a mask."""

    def __init__(self, mask: npt.NDArray[np.float32]) -> None:
        super().__init__()
        self.register_buffer("mask", torch.from_numpy(mask))
        self.colors = nn.Conv2d(3, 3, 1, bias=False)
        self.activation = nn.ReLU()
        self.head = nn.Linear(3, 3, bias=False)
        with torch.no_grad():
            self.colors.weight.copy_(torch.eye(3)[..., None, None])
            self.head.weight.copy_(40 * torch.eye(3))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x: torch.Tensor = self.head(self.activation(self.colors(image * self.mask)).mean((2, 3)))
        return x


class Colors:
    """Takes images of 64×64 as the means of 2×2 pixels, as shares of 255."""

    spec = "colors"
    classes: tuple[str, ...] | None = ("red", "green", "blue")

    def __init__(self, mask: npt.NDArray[np.float32] = AT_FACE) -> None:
        self._network = ColorAt(mask).eval().requires_grad_(False)

    def prepare(self, image: Pixels) -> npt.NDArray[np.float32]:
        cells = image.reshape(SIDE // 2, 2, SIDE // 2, 2, 3).mean(axis=(1, 3))
        return np.ascontiguousarray(cells.transpose(2, 0, 1), dtype=np.float32) / 255

    def predict(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        with torch.inference_mode():
            return np.asarray(self._network(torch.from_numpy(batch)).numpy(), np.float32)

    def features(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        raise NotImplementedError

    def network(self) -> nn.Module:
        return self._network

    def describe(self) -> Mapping[str, Any]:
        return {"spec": self.spec}


def make_dataset(folder: Path) -> None:
    """Eight red photos with a face that is bluer each time, three without a face."""
    random = np.random.default_rng(0)
    for number in range(11):
        pixels = np.empty((SIDE, SIDE, 3), np.uint8)
        pixels[:] = RED
        if number < 8:
            x0, y0, x1, y1 = FACE
            weight = number / 7
            face = weight * np.array(BLUE) + (1 - weight) * np.array(RED)
            pixels[y0:y1, x0:x1] = face.astype(np.uint8)
        noise = random.integers(-20, 21, size=pixels.shape)
        pixels = np.clip(pixels + noise, 0, 255).astype(np.uint8)
        path = folder / ("ape" if number % 2 else "bat") / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


def obfuscate(folder: Path, out: Path) -> None:
    """Blur the dataset with the faces that are known."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    lines = [
        {"file": name, "faces": [{"xyxy": list(FACE)}] if int(name[-6:-4]) < 8 else []}
        for name in names
    ]
    faces = out.with_suffix(".json")
    faces.write_text(json.dumps(lines))
    curate.blur(folder, out, Recipe(), Session(faces=faces, workers=1))
