from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as oracle

from curate.core.errors import DataError
from curate.layouts.coco.geometry import decode_runs, encode_runs, format_counts, parse_counts

masks = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.integers(0, 1)
)


@given(masks)
def test_runs_are_those_of_pycocotools(mask: np.ndarray) -> None:
    height, width = mask.shape
    runs = encode_runs(mask)
    np.testing.assert_array_equal(decode_runs(runs, width, height, "x"), mask)
    text = oracle.encode(np.asfortranarray(mask))["counts"].decode()
    assert format_counts(runs) == text
    assert parse_counts(text, "x") == runs
    np.testing.assert_array_equal(decode_runs(text, width, height, "x"), mask)
    plain = oracle.frPyObjects({"size": [height, width], "counts": runs}, height, width)
    assert int(oracle.area(plain)) == int(mask.sum())


@given(st.lists(st.integers(0, 2**31), min_size=1, max_size=30))
def test_counts_of_any_size_come_back(counts: list[int]) -> None:
    assert parse_counts(format_counts(counts), "x") == counts


def test_large_masks_agree_too() -> None:
    mask = np.zeros((700, 900), np.uint8)
    mask[100:600, 300:800] = 1
    assert (
        format_counts(encode_runs(mask))
        == oracle.encode(np.asfortranarray(mask))["counts"].decode()
    )


@pytest.mark.parametrize("counts", [[1, 2], [20, -8], [6.0, 6.0], "", "!", "o", "P" * 20, "12é"])
def test_invalid_run_lengths_are_one_line(counts: list[int] | str) -> None:
    with pytest.raises(DataError, match=r"^x "):
        decode_runs(counts, 3, 4, "x")
