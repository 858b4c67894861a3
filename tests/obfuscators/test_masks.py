from __future__ import annotations

import numpy as np
import pytest

from curate.core.errors import WithheldError
from curate.core.faces import Region
from curate.core.geometry import Box
from curate.obfuscators import OBFUSCATORS, make, masks


def test_a_face_grows_by_its_longer_side_rounds_outwards_and_is_clipped() -> None:
    assert masks.region(Box(10, 10, 30, 50), 0.1, 100, 100).hidden == Box(6, 6, 34, 54)
    assert masks.region(Box(10.2, 10, 30.1, 50), 0, 100, 100).hidden == Box(10, 10, 31, 50)
    assert masks.region(Box(-5, 80, 20, 120), 0.15, 100, 100).hidden == Box(0, 74, 26, 100)
    assert masks.region(Box(-5, 80, 20, 120), 0.15, 100, 100).face == Box(-5, 80, 20, 120)


@pytest.mark.parametrize(
    "face", [Box(110, 0, 120, 10), Box(-20, 5, -3, 9), Box(5, 5, 5, 9), Box(5, 5, 5, 5)]
)
def test_a_face_outside_the_image_raises(face: Box) -> None:
    with pytest.raises(WithheldError, match="covers no pixel of a 100×80 image") as error:
        masks.region(face, 0.15, 100, 80)
    assert error.value.code == "faces"


def test_only_imagenet_has_a_margin_of_its_own() -> None:
    assert masks.default_margin("imagenet") == 0.1
    assert masks.default_margin("diffuse") == masks.DEFAULT_MARGIN == 0.15


def test_clusters_join_what_touches_even_at_a_corner_and_through_others() -> None:
    a, b, c = Box(0, 0, 4, 4), Box(4, 4, 6, 6), Box(6, 0, 9, 5)
    far = Box(11, 0, 12, 2)
    assert masks.clusters([a, far, b, c]) == [[a, b, c], [far]]
    assert masks.clusters([]) == []


def test_feather_falls_off_outside_the_hidden_region_only() -> None:
    region = Region(Box(20, 20, 40, 40), Box(17, 17, 43, 43))
    weights = masks.blend([region], 0.5, 80, 60)
    assert (weights[17:43, 17:43] == 1).all()
    beside = weights[30, 43:]
    assert (np.diff(beside) <= 0).all()
    assert 0.9 < beside[0] < 1
    assert beside[9] > 0
    assert (beside[10:] == 0).all()


def test_overlapping_feathers_use_the_maximum_weight() -> None:
    left = Region(Box(10, 10, 20, 20), Box(10, 10, 20, 20))
    right = Region(Box(30, 10, 40, 20), Box(30, 10, 40, 20))
    both = masks.blend([left, right], 1.0, 50, 30)
    alone = [masks.blend([each], 1.0, 50, 30) for each in (left, right)]
    assert np.array_equal(both, np.maximum(*alone))
    assert (both[10:20, 30:40] == 1).all()


@pytest.mark.parametrize("method", list(OBFUSCATORS))
def test_too_many_faces_withhold_the_image(method: str) -> None:
    regions = [Region(Box(0, 0, 4, 4), Box(0, 0, 5, 5))] * (masks.MAX_REGIONS + 1)
    with pytest.raises(WithheldError, match="at most 4,096 per image"):
        make(method, {}).apply(np.zeros((8, 8, 3), np.uint8), regions)


def test_composite_never_reads_the_original_where_the_layer_has_full_weight() -> None:
    region = Region(Box(10, 10, 20, 20), Box(10, 10, 20, 20))
    layer = np.full((30, 30), 7, dtype=np.uint8)
    dark = np.zeros((30, 30), dtype=np.uint8)
    settled = masks.composite(dark, layer, [region], 0.5)
    assert (settled[10:20, 10:20] == 7).all()
    assert 0 < settled[15, 21] < 7
    assert settled[15, 26] == 0


def test_boxes_that_cover_an_image_many_times_are_refused() -> None:
    whole = Region(Box(0, 0, 2000, 2000), Box(0, 0, 2000, 2000))
    masks.check_regions([whole] * 16, 2000, 2000)
    with pytest.raises(WithheldError, match=r"17 faces cover the image 17 times; at most 16"):
        masks.check_regions([whole] * 17, 2000, 2000)
    small = Region(Box(0, 0, 64, 64), Box(0, 0, 64, 64))
    masks.check_regions([small] * 1000, 64, 64)
