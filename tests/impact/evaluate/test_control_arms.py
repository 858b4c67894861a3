from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from curate import codec
from curate.codec import CodecOptions, changed_mask
from curate.core.entries import ManifestEntry, Outcome, Route
from curate.core.errors import DataError
from curate.core.faces import Face
from curate.core.geometry import Box, intersection
from curate.impact.evaluate.control_arms import (
    ControlImage,
    Obfuscation,
    make_control,
    make_random,
)
from curate.impact.placement import place_boxes
from curate.obfuscators import make
from tests.detectors.pictures import astronaut

FILL = Obfuscation(make("fill", {"color": "#ff00ff"}), CodecOptions(), "recipe")
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


def shown(control: ControlImage) -> np.ndarray:
    assert control.data is not None
    return codec.load(control.data).frames[0]


def test_reencoding_changes_only_touched_blocks_slightly() -> None:
    picture = codec.load(encode("JPEG", quality=80))
    control = make_control("reencoded", picture, entry(), FILL)
    assert control.route is Route.SPLICED
    assert (control.regions, control.share) == (0, 0.0)
    changed = np.abs(shown(control).astype(int) - picture.frames[0]).max(axis=2)
    allowed = changed_mask(picture, [HIDDEN], 0)
    assert not changed[~allowed].any()
    assert changed[HIDDEN.slices].any()  # encoding is not without loss
    assert changed.max() < 30  # and nothing is hidden


def test_lossless_reencoding_keeps_pixels() -> None:
    picture = codec.load(encode("PNG"))
    control = make_control("reencoded", picture, entry(Route.LOSSLESS), FILL)
    assert control.route is Route.LOSSLESS
    assert np.array_equal(shown(control), picture.frames[0])


def test_random_region_hides_the_same_area_by_the_same_method() -> None:
    picture = codec.load(encode("PNG"))
    control = make_control("random-region", picture, entry(Route.LOSSLESS), FILL)
    assert (control.regions, control.overlapping) == (1, 0)
    assert control.share == pytest.approx(HIDDEN.area / 512**2)
    magenta = (shown(control) == [255, 0, 255]).all(axis=2)
    assert magenta.sum() == HIDDEN.area
    assert not magenta[HIDDEN.slices].any()
    assert np.array_equal(shown(control)[HIDDEN.slices], picture.frames[0][HIDDEN.slices])


def test_random_regions_are_deterministic() -> None:
    picture = codec.load(encode("JPEG"))
    first, again = (make_control("random-region", picture, entry(), FILL) for _ in range(2))
    assert first == again
    other = Obfuscation(FILL.obfuscator, FILL.options, "another recipe")
    assert make_control("random-region", picture, entry(), other).data != first.data


@pytest.mark.parametrize("method", ["diffuse", "fill", "mosaic", "gaussian", "imagenet"])
@pytest.mark.parametrize("arm", ["reencoded", "random-region"])
def test_every_obfuscator_has_control_arms(method: str, arm: str) -> None:
    making = Obfuscation(make(method, {}), CodecOptions(), "recipe")
    picture = codec.load(encode("JPEG"))
    control = make_control(arm, picture, entry(), making)
    assert control.route is Route.SPLICED
    face = shown(control)[FACE.slices].astype(int)
    # The face itself is not hidden in either arm.
    assert np.abs(face - picture.frames[0][FACE.slices]).mean() < 4


@pytest.mark.parametrize("arm", ["reencoded", "random-region"])
def test_image_without_faces_is_unchanged(arm: str) -> None:
    picture = codec.load(encode("JPEG"))
    control = make_control(arm, picture, entry(Route.COPIED, faces=0), FILL)
    assert control == ControlImage(None, Route.COPIED)
    webp = codec.load(encode("WEBP"))  # encoded again for other reasons than a face
    assert make_control(arm, webp, entry(Route.REENCODED, faces=0), FILL).data is not None


def test_face_outside_the_image_is_clipped_before_it_moves() -> None:
    picture = codec.load(encode("PNG"))
    face, hidden = Box(-60, -60, 50, 50), Box(0, 0, 66, 66)
    at_edge = replace(entry(Route.LOSSLESS), faces=(Face(face),), hidden=(hidden,))
    making = Obfuscation(make("imagenet", {}), CodecOptions(), "recipe")
    control = make_control("random-region", picture, at_edge, making)
    changed = (shown(control) != picture.frames[0]).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert rows.max() - rows.min() < 50 + 2 * 25
    assert columns.max() - columns.min() < 50 + 2 * 25


def test_frames_have_their_own_regions() -> None:
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


def test_manifest_of_a_larger_image_is_refused() -> None:
    picture = codec.load(encode("JPEG"))
    with pytest.raises(DataError, match="which has 512×512 pixels: it is of another image"):
        make_control(
            "reencoded",
            picture,
            replace(entry(), hidden=(Box(500, 0, 600, 50),)),
            FILL,
        )


SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))


@st.composite
def scenes(draw: st.DrawFn) -> tuple[int, int, list[Box]]:
    width, height = draw(SIZES)
    hidden = []
    for _ in range(draw(st.integers(1, 5))):
        x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        x1, y1 = draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height))
        hidden.append(Box(x0, y0, x1, y1))
    return width, height, hidden


@given(scenes())
def test_boxes_keep_their_size_and_report_overlaps(scene: tuple[int, int, list[Box]]) -> None:
    width, height, hidden = scene
    placed = place_boxes(hidden, width, height, make_random("recipe", "a.jpg"))
    assert len(placed) == len(hidden)
    for before, after in zip(hidden, placed, strict=True):
        box = after.box
        assert (box.width, box.height) == (before.width, before.height)
        assert 0 <= box.x0 <= box.x1 <= width
        assert 0 <= box.y0 <= box.y1 <= height
        assert after.overlaps == any(intersection(box, other) > 0 for other in hidden)
        if after.overlaps:  # then there was no place without
            faces = np.zeros((height, width), dtype=bool)
            for other in hidden:
                faces[other.slices] = True
            w, h = int(box.width), int(box.height)
            assert all(
                faces[y : y + h, x : x + w].any()
                for y in range(height - h + 1)
                for x in range(width - w + 1)
            )


def test_boxes_do_not_overlap_where_there_is_space() -> None:
    hidden = [Box(0, 0, 20, 20), Box(10, 10, 30, 30), Box(40, 0, 50, 10)]
    for number in range(50):
        placed = place_boxes(hidden, 200, 120, make_random("recipe", str(number)))
        boxes = [each.box for each in placed]
        assert not any(each.overlaps for each in placed)
        assert not any(intersection(a, b) for place, a in enumerate(boxes) for b in boxes[:place])


def test_free_positions_are_uniform() -> None:
    # A row of five pixels whose middle is hidden: four places are left.
    counts = dict.fromkeys((0, 1, 3, 4), 0)
    for number in range(2000):
        [placed] = place_boxes([Box(2, 0, 3, 1)], 5, 1, make_random("recipe", str(number)))
        counts[int(placed.box.x0)] += 1
    assert all(
        count == pytest.approx(500, abs=4 * (2000 * 0.25 * 0.75) ** 0.5)
        for count in counts.values()
    )


def test_positions_depend_on_recipe_and_image_alone() -> None:
    hidden = [Box(10, 10, 30, 30)]

    def place(recipe: str, record: str) -> Box:
        return place_boxes(hidden, 300, 200, make_random(recipe, record))[0].box

    assert place("r", "a.jpg") == place("r", "a.jpg")
    assert len({place("r", "a.jpg"), place("r", "b.jpg"), place("s", "a.jpg")}) == 3


def test_full_image_face_reports_an_overlap() -> None:
    [placed] = place_boxes([Box(0, 0, 30, 20)], 30, 20, make_random("r", "a"))
    assert placed.overlaps
    assert placed.box == Box(0, 0, 30, 20)
