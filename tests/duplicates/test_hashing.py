from __future__ import annotations

import numpy as np
import pytest

from curate.core.geometry import turn
from curate.duplicates.hashing import (
    MIN_QUALITY,
    MIN_SIMILARITY,
    THRESHOLD,
    distance,
    invert,
    make_fingerprint,
    similarity,
)
from curate.duplicates.search import UnionFind

cv2 = pytest.importorskip("cv2")
skimage_data = pytest.importorskip("skimage.data")


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return np.ascontiguousarray(skimage_data.astronaut())


def test_distance_counts_bits() -> None:
    a = np.array([0, 0, 0, 0b1011], np.uint64)
    assert distance(a, np.zeros(4, np.uint64)) == 3


@pytest.mark.parametrize(
    "change",
    [
        lambda image: cv2.imdecode(cv2.imencode(".jpg", image, [1, 40])[1], 1),
        lambda image: cv2.resize(image, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA),
        lambda image: cv2.resize(image, None, fx=1.8, fy=1.8),
        lambda image: np.clip(image * 0.7 + 20, 0, 255).astype(np.uint8),
        lambda image: image[5:-5, 5:-5],
    ],
    ids=["recompressed", "smaller", "larger", "darker", "cropped by 2 %"],
)  # fmt: skip
def test_copies_are_near_and_verified(picture: np.ndarray, change: object) -> None:
    a = make_fingerprint(picture)
    b = make_fingerprint(np.ascontiguousarray(change(picture)))  # type: ignore[operator]
    assert distance(a.hash, b.hash) <= THRESHOLD
    assert similarity(a.gray, b.gray) >= MIN_SIMILARITY


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_image_is_near_the_hash_of_its_orientation(
    picture: np.ndarray, orientation: int
) -> None:
    image = picture[:, 40:]  # not a square
    turned = np.ascontiguousarray(turn(image, orientation))
    a, b = make_fingerprint(np.ascontiguousarray(image)), make_fingerprint(turned)
    near = [distance(turned_hash, b.hash) <= THRESHOLD for turned_hash in a.hashes]
    assert near == [each == orientation for each in range(1, 9)]
    assert distance(a.hashes[orientation - 1], b.hash) <= 4
    assert similarity(turn(a.gray, orientation), b.gray) >= MIN_SIMILARITY
    back = turn(turn(image, orientation), invert(orientation))
    assert np.array_equal(back, image)


def test_other_pictures_are_far(picture: np.ndarray) -> None:
    other = np.ascontiguousarray(skimage_data.coffee())
    a, b = make_fingerprint(picture), make_fingerprint(other)
    assert distance(a.hash, b.hash) > 80
    assert similarity(a.gray, b.gray) < 0.5


def test_an_image_without_detail_has_no_quality() -> None:
    assert make_fingerprint(np.full((50, 70, 3), 99, np.uint8)).quality < MIN_QUALITY
    assert similarity(np.zeros((32, 32), np.uint8), np.zeros((32, 32), np.uint8)) <= 0


def test_hashes_are_those_of_pdq_but_for_a_few_bits(picture: np.ndarray) -> None:
    pdqhash = pytest.importorskip("pdqhash", reason="the reference implementation is absent")
    for image in (picture, skimage_data.coffee(), skimage_data.chelsea()):
        bits, _ = pdqhash.compute(np.ascontiguousarray(image))
        mine = np.unpackbits(make_fingerprint(np.ascontiguousarray(image)).hash.view(np.uint8))
        assert np.count_nonzero(np.asarray(bits)[::-1] != mine) <= 24


def test_pairs_become_groups() -> None:
    union = UnionFind(8)
    union.join_all([(1, 2), (5, 4), (2, 6)])
    assert [list(group) for group in union.iter_groups()] == [[1, 2, 6], [4, 5]]
