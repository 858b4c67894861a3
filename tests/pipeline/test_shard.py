from __future__ import annotations

import sqlite3
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from curate import Recipe, codec
from curate.codec import CodecOptions
from curate.core.entries import Outcome
from curate.core.errors import SetupError, SourceChangedError
from curate.core.faces import Detection
from curate.core.geometry import Box
from curate.core.protocols import Model, Pixels
from curate.engine.shards import Shard
from curate.layouts.access.folder import LocalFolder
from curate.layouts.faces.boxes import GivenFaces
from curate.layouts.imagefolder import ImageFolder
from curate.pipeline.image import Tools
from curate.pipeline.shard import process_images
from curate.pipeline.tools import open_obfuscator


class Detector:
    """Fails with the given error, at more than so many images at once."""

    name = "failing"

    def __init__(self, error: Exception, most: int = 0) -> None:
        self.error, self.most = error, most

    def detect(self, image: Pixels) -> list[Detection]:
        return self.detect_batch([image])[0]

    def detect_batch(self, images: Sequence[Pixels]) -> list[list[Detection]]:
        if len(images) > self.most:
            raise self.error
        return [[] for _ in images]

    def models(self) -> tuple[Model, ...]:
        return ()


class Faces:
    def find(self, record_id: str) -> GivenFaces | None:
        raise sqlite3.OperationalError("disk I/O error")


def tools(detector: Detector | None = None, given: Faces | None = None) -> Tools:
    return Tools(detector, given, open_obfuscator(Recipe()), 0.1, CodecOptions())


@pytest.fixture
def source(tmp_path: Path) -> ImageFolder:
    for name in "abc":
        Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(tmp_path / f"{name}.png")
    return ImageFolder(LocalFolder(tmp_path))


def outcomes(source: ImageFolder, with_tools: Tools) -> list[str]:
    records = tuple(source.records())
    made = process_images(records, Shard(0, records), source, with_tools)
    return [entry.reason or entry.outcome.value for entry, _ in made]


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("CUDA error: an illegal memory access was encountered")]
)
def test_a_detector_without_memory_or_gpu_ends_the_run(
    error: Exception, source: ImageFolder
) -> None:
    with pytest.raises(SetupError, match=r"'a\.png'"):
        outcomes(source, tools(Detector(error)))


def test_a_batch_that_fails_is_repeated_image_by_image(source: ImageFolder) -> None:
    detector = Detector(RuntimeError("CUDA out of memory"), most=1)
    assert outcomes(source, tools(detector)) == [Outcome.WRITTEN.value] * 3


def test_a_detector_that_fails_at_an_image_withholds_it(source: ImageFolder) -> None:
    reasons = outcomes(source, tools(Detector(ValueError("no such shape"))))
    assert reasons == ["detector: it did not finish (ValueError: no such shape)"] * 3


def test_given_faces_that_cannot_be_read_end_the_run(source: ImageFolder) -> None:
    with pytest.raises(SetupError, match="given faces"):
        outcomes(source, tools(given=Faces()))


@pytest.mark.parametrize("step", ["load", "save"])
def test_lack_of_memory_at_an_image_ends_the_run(
    step: str, source: ImageFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(codec, step, fail)
    with pytest.raises(SetupError, match="memory ran out"):
        outcomes(source, tools(Detector(ValueError(), most=3)))


def test_a_deleted_image_ends_the_run(source: ImageFolder) -> None:
    records = tuple(source.records())
    Path(source.uri, "b.png").unlink()
    with pytest.raises(SourceChangedError, match=r"'b\.png'"):
        list(
            process_images(
                records, Shard(0, records), source, tools(Detector(ValueError(), most=3))
            )
        )


def test_an_image_of_which_the_detector_says_nothing_is_withheld(
    source: ImageFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.pipeline.shard.detect", lambda pictures, tools: {})
    found = outcomes(source, tools(Detector(RuntimeError(), most=9)))
    assert found == ["detector: it gave no result"] * 3


@pytest.mark.parametrize("faces", [0, 1])
@pytest.mark.parametrize("batch", [1, 3])
def test_the_pixels_of_an_image_are_gone_when_its_output_is_decoded(
    faces: int, batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Found(Detector):
        def detect_batch(self, images: Sequence[Pixels]) -> list[list[Detection]]:
            return [[Detection(Box(2, 2, 12, 12), 0.9, "x")] * faces for _ in images]

    for name in "abc":
        Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(tmp_path / f"{name}.bmp")
    loaded: list[weakref.ref[object]] = []
    alive: list[int] = []
    load = codec.load

    def load_and_count(*arguments: Any) -> codec.Picture:
        alive.append(sum(each() is not None for each in loaded))
        picture = load(*arguments)
        loaded.append(weakref.ref(picture.frames[0]))
        return picture

    monkeypatch.setattr(codec, "load", load_and_count)
    source = ImageFolder(LocalFolder(tmp_path))
    records = tuple(source.records())
    for start in range(0, len(records), batch):
        part = records[start : start + batch]
        made = list(process_images(part, Shard(0, records), source, tools(Found(Exception()))))
        assert all(entry.pixels_sha256 for entry, _ in made)
    assert max(alive) == batch - 1
