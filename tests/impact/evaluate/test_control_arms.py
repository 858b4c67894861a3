from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from curate import codec
from curate.codec import CodecOptions, changed_mask
from curate.core.entries import ManifestEntry, Outcome, Route
from curate.core.errors import DataError
from curate.core.faces import Face
from curate.core.geometry import Box
from curate.impact.evaluate.control_arms import Control, Making, make_control
from curate.obfuscators import make
from tests.detectors.pictures import astronaut

FILL = Making(make("fill", {"color": "#ff00ff"}), CodecOptions(), "recipe")
FACE, HIDDEN = Box(180, 70, 260, 180), Box(168, 58, 272, 192)


def encode(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(astronaut()).save(buffer, kind, **options)
    return buffer.getvalue()


def entry(route: Route = Route.SPLICED, faces: int = 1, **more: object) -> ManifestEntry:
    return ManifestEntry(
        id="a.jpg",
        split=None,
        category=None,
        source_path="a.jpg",
        source_sha256=None,
        source_bytes=None,
        outcome=Outcome.WRITTEN,
        route=route,
        faces=(Face(FACE),) * faces,
        hidden=(HIDDEN,) * faces,
        **more,  # type: ignore[arg-type]
    )


def shown(control: Control) -> np.ndarray:
    assert control.data is not None
    return codec.load(control.data).frames[0]


def test_encoding_again_changes_touched_blocks_alone_and_those_but_little() -> None:
    picture = codec.load(encode("JPEG", quality=80))
    control = make_control("reencoded", picture, entry(), FILL)
    assert control.route is Route.SPLICED
    assert (control.regions, control.share) == (0, 0.0)
    changed = np.abs(shown(control).astype(int) - picture.frames[0]).max(axis=2)
    allowed = changed_mask(picture, [HIDDEN], 0)
    assert not changed[~allowed].any()
    assert changed[HIDDEN.slices].any()  # encoding is not without loss
    assert changed.max() < 30  # and nothing is hidden


def test_encoding_again_without_loss_shows_the_same() -> None:
    picture = codec.load(encode("PNG"))
    control = make_control("reencoded", picture, entry(Route.LOSSLESS), FILL)
    assert control.route is Route.LOSSLESS
    assert np.array_equal(shown(control), picture.frames[0])


def test_as_much_is_hidden_elsewhere_by_the_same_method() -> None:
    picture = codec.load(encode("PNG"))
    control = make_control("random-region", picture, entry(Route.LOSSLESS), FILL)
    assert (control.regions, control.overlapping) == (1, 0)
    assert control.share == pytest.approx(HIDDEN.area / 512**2)
    magenta = (shown(control) == [255, 0, 255]).all(axis=2)
    assert magenta.sum() == HIDDEN.area
    assert not magenta[HIDDEN.slices].any()
    assert np.array_equal(shown(control)[HIDDEN.slices], picture.frames[0][HIDDEN.slices])


def test_regions_elsewhere_are_the_same_again() -> None:
    picture = codec.load(encode("JPEG"))
    first, again = (make_control("random-region", picture, entry(), FILL) for _ in range(2))
    assert first == again
    other = Making(FILL.obfuscator, FILL.options, "another recipe")
    assert make_control("random-region", picture, entry(), other).data != first.data


@pytest.mark.parametrize("method", ["diffuse", "fill", "mosaic", "gaussian", "imagenet"])
@pytest.mark.parametrize("arm", ["reencoded", "random-region"])
def test_every_method_has_its_arms(method: str, arm: str) -> None:
    making = Making(make(method, {}), CodecOptions(), "recipe")
    picture = codec.load(encode("JPEG"))
    control = make_control(arm, picture, entry(), making)
    assert control.route is Route.SPLICED
    face = shown(control)[FACE.slices].astype(int)
    # The face itself is not hidden in either arm.
    assert np.abs(face - picture.frames[0][FACE.slices]).mean() < 4


@pytest.mark.parametrize("arm", ["reencoded", "random-region"])
def test_an_image_without_faces_shows_what_it_showed(arm: str) -> None:
    picture = codec.load(encode("JPEG"))
    control = make_control(arm, picture, entry(Route.COPIED, faces=0), FILL)
    assert control == Control(None, Route.COPIED)
    webp = codec.load(encode("WEBP"))  # encoded again for other reasons than a face
    assert make_control(arm, webp, entry(Route.REENCODED, faces=0), FILL).data is not None


def test_a_face_that_reaches_out_of_the_image_hides_no_more_elsewhere() -> None:
    picture = codec.load(encode("PNG"))
    face, hidden = Box(-60, -60, 50, 50), Box(0, 0, 66, 66)
    at_edge = replace(entry(Route.LOSSLESS), faces=(Face(face),), hidden=(hidden,))
    making = Making(make("imagenet", {}), CodecOptions(), "recipe")
    control = make_control("random-region", picture, at_edge, making)
    changed = (shown(control) != picture.frames[0]).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert rows.max() - rows.min() < 50 + 2 * 25
    assert columns.max() - columns.min() < 50 + 2 * 25


def test_every_frame_has_its_own_regions() -> None:
    frames = [Image.fromarray(np.full((60, 90, 3), level, np.uint8)) for level in (40, 90, 160)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "PNG", save_all=True, append_images=frames[1:], default_image=False)
    picture = codec.load(buffer.getvalue())
    hidden = Box(10, 10, 30, 30)
    moving = replace(entry(Route.LOSSLESS), faces=(Face(hidden, frames=(1,)),), hidden=(hidden,))
    control = make_control("random-region", picture, moving, FILL)
    assert control.data is not None
    made = codec.load(control.data)
    magenta = [int((frame[..., :3] == [255, 0, 255]).all(axis=2).sum()) for frame in made.frames]
    assert magenta == [0, 400, 0]


def test_a_manifest_of_a_larger_image_is_refused() -> None:
    picture = codec.load(encode("JPEG"))
    with pytest.raises(DataError, match="which is 512×512 pixels: it is of another image"):
        make_control(
            "reencoded",
            picture,
            replace(entry(), hidden=(Box(500, 0, 600, 50),)),
            FILL,
        )
