"""Samples of images by which a report is known to be of a dataset."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from curate.manifest.identity import SIZE, ImageSample, find_known

DIGESTS = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(3 * SIZE)]


def make(digests: list[str]) -> ImageSample:
    sample = ImageSample()
    for digest in digests:
        sample.add_digest(digest)
    return sample


def test_a_sample_is_the_smallest_digests() -> None:
    made = make(DIGESTS).to_dict()
    assert made["images"] == len(DIGESTS)
    assert made["sample"] == [digest[:16] for digest in sorted(DIGESTS)[:SIZE]]


@given(st.lists(st.sampled_from(DIGESTS), max_size=30), st.randoms())
def test_neither_order_nor_repetition_change_a_sample(digests: list[str], random) -> None:  # type: ignore[no-untyped-def]
    again = [*digests, *digests]
    random.shuffle(again)
    assert make(again).to_dict()["sample"] == sorted({digest[:16] for digest in digests})


def test_the_share_of_a_sample_estimates_the_overlap() -> None:
    sample = set(make(DIGESTS).to_dict()["sample"])
    found = find_known(sample, iter(DIGESTS[: len(DIGESTS) // 4]))
    assert 0.2 < len(found) / len(sample) < 0.3
    assert find_known(sample, []) == set()
