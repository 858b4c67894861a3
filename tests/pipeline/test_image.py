from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from PIL import Image

from curate import codec
from curate.codec import CodecOptions
from curate.core.errors import WithheldError
from curate.core.faces import Detection, Face
from curate.core.geometry import Box
from curate.core.protocols import Model, Pixels
from curate.obfuscators import make
from curate.pipeline.image import Tools, detect, hide
from tests.codec import samples


class Brightest:
    """Reports one box in every image that is not uniform: around its brightest pixels."""

    name = "brightest"

    def detect(self, image: Pixels) -> list[Detection]:
        return self.detect_batch([image])[0]

    def detect_batch(self, images: Sequence[Pixels]) -> list[list[Detection]]:
        return [self._find(image) for image in images]

    def models(self) -> tuple[Model, ...]:
        return ()

    def _find(self, image: Pixels) -> list[Detection]:
        if not np.ptp(image):
            return []
        rows, columns = np.nonzero(image.max(axis=2) == image.max())
        box = Box(columns.min(), rows.min(), columns.max() + 1.0, rows.max() + 1.0)
        return [Detection(box, 0.9, self.name)]


def tools() -> Tools:
    return Tools(Brightest(), None, make("fill", {"color": "7"}), 0.0, CodecOptions())


def test_a_face_in_the_alpha_channel_only_is_hidden() -> None:
    pixels = np.full((40, 60, 4), 90, np.uint8)
    pixels[..., 3] = 100
    pixels[10:20, 30:50, 3] = 255
    pixels[0, 0, :3] = 91
    picture = codec.load(samples.encoded(Image.fromarray(pixels), "PNG"))
    faces = detect({"a": picture}, tools())["a"]
    assert isinstance(faces, list)
    assert Box(30, 10, 50, 20) in [face.box for face in faces[0]]
    written = codec.load(hide(picture, faces, tools()).data)
    assert (written.frames[0][10:20, 30:50] == (7, 7, 7, 255)).all()
    assert not np.array_equal(written.frames[0][5:25, 20:55], pixels[5:25, 20:55])


def test_frames_are_detected_in_batches_that_fit_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.pipeline.image._BATCH_PIXELS", 3000)
    sizes: list[int] = []
    found = Brightest.detect_batch

    def counted(self: Brightest, images: Sequence[Pixels]) -> list[list[Detection]]:
        sizes.append(len(images))
        return found(self, images)

    picture = codec.load(samples.SAMPLES["gif-animated"]())
    together = detect({"a": picture, "b": picture}, tools())
    monkeypatch.setattr(Brightest, "detect_batch", counted)
    assert detect({"a": picture, "b": picture}, tools()) == together
    assert sum(sizes) == 2 * len(picture.frames)
    assert len(sizes) > 1


def test_a_face_in_several_appearances_is_one_face() -> None:
    pixels = np.zeros((40, 60, 4), np.uint8)
    pixels[..., 3] = 200
    pixels[10:20, 30:50] = 255
    picture = codec.load(samples.encoded(Image.fromarray(pixels), "PNG"))
    assert len(codec.appearances(picture)) > 2
    faces = detect({"a": picture}, tools())["a"]
    assert faces == [[Face(Box(30, 10, 50, 20), 0.9, ("brightest",), "detector")]]


class Upright(Brightest):
    """Finds the bright box only in images in which it is higher than wide."""

    def _find(self, image: Pixels) -> list[Detection]:
        found = super()._find(image)
        return [each for each in found if each.box.height > each.box.width]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_images_are_searched_as_stored_whatever_exif_says(kind: str, orientation: int) -> None:
    pixels = np.full((48, 64, 3), 60, np.uint8)
    pixels[8:40, 16:32] = 250
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    picture = codec.load(samples.encoded(Image.fromarray(pixels), kind, exif=exif, **options))
    assert picture.orientation == orientation
    search = Tools(Upright(), None, make("fill", {"color": "7"}), 0.0, CodecOptions())
    faces = detect({"a": picture}, search)["a"]
    assert isinstance(faces, list)
    [face] = faces[0]
    assert (face.box.height, face.box.width) == pytest.approx((32, 16), abs=8)


def test_boxes_of_a_face_in_two_orientations_are_joined() -> None:
    class Shifted(Brightest):
        def _find(self, image: Pixels) -> list[Detection]:
            return [Detection(Box(10, 10, 30, 30), 0.5 + image.shape[0] / 1000, "shifted")]

    exif = Image.Exif()
    exif[0x0112] = 3
    image = Image.fromarray(np.full((42, 44, 3), 60, np.uint8))
    picture = codec.load(samples.encoded(image, "PNG", exif=exif))
    search = Tools(Shifted(), None, make("fill", {"color": "7"}), 0.0, CodecOptions())
    [[face]] = detect({"a": picture}, search)["a"]
    assert face.box == Box(10, 10, 34, 32)


@pytest.mark.parametrize(("most", "is_withheld"), [(3 * 15 + 2 + 3, False), (3 * 15 + 4, True)])
def test_an_animation_with_more_faces_than_a_record_has_is_withheld(
    most: int, is_withheld: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.pipeline.image._MAX_VALUES", most)
    picture = codec.load(samples.SAMPLES["gif-animated"]())
    faces: list[list[Face]] = [[] for _ in picture.frames]
    faces[0] = [Face(Box(1, 1, 6, 6), 0.9, ("a", "b")), Face(Box(8, 1, 12, 6))]
    faces[1] = [Face(Box(2, 1, 7, 6))]
    if is_withheld:
        with pytest.raises(WithheldError, match="3 faces in"):
            hide(picture, faces, tools())
    else:
        assert len(hide(picture, faces, tools()).faces) == 3
