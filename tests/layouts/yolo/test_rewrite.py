"""Limits on YOLO label lines: what is written once is kept when it is written again."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.layouts.sidecars.values import Limits
from curate.layouts.yolo.rewrite import rewrite_labels

SMALL, WHOLE = "0 0.2 0.2 0.316 0.316", "1 0.5 0.5 1 1"


def rewritten(text: str) -> tuple[str, int]:
    limits, out = Limits(()), io.BytesIO()
    rewrite_labels(io.BytesIO(text.encode()), out, "a.txt", limits, None)
    return out.getvalue().decode(), limits.content.count_dropped()


def lines_of(*groups: tuple[str, int]) -> str:
    return "".join(f"{line}\n" * count for line, count in groups)


@st.composite
def labels(draw: st.DrawFn) -> str:
    """Runs of equal lines: boxes from tiny ones to those of the whole image, and others."""
    side = st.integers(0, 60).map(lambda power: (15 / 16) ** power)
    box = side.map(lambda size: f"0 0.5 0.5 {size:.6f} {size:.6f}")
    line = st.one_of(
        box, st.sampled_from(["", "not a label", "Zm9vYmFyYmF6cXV4Zm9v .5 .5 1 1", WHOLE])
    )
    runs = draw(st.lists(st.tuples(line, st.integers(1, 120)), max_size=30))
    return lines_of(*runs)


@settings(deadline=None, max_examples=60)
@given(labels())
def test_nothing_more_is_dropped_from_what_was_written(text: str) -> None:
    once, dropped = rewritten(text)
    assert rewritten(once) == (once, 0)
    assert dropped == sum(bool(line.strip()) for line in text.splitlines()) - sum(
        bool(line) for line in once.splitlines()
    )


@pytest.mark.parametrize(
    ("groups", "kept"),
    [
        ([(SMALL, 156), (WHOLE, 1)], 64),  # the extent of the kept ones is that of the small ones
        ([(SMALL, 150), (WHOLE, 1)], 151),
        ([(WHOLE, 1), (SMALL, 156)], 151),
        ([(SMALL, 100), ("0 0.5 0.5 1 0.01", 1), (WHOLE, 1)], 102),
        ([("not a label", 20), (SMALL, 156), ("x" * 40 + " 0.5 0.5 1 1", 1)], 44),
        ([(WHOLE, 200)], 64),
    ],
)
def test_the_extent_is_that_of_the_lines_that_are_kept(
    groups: list[tuple[str, int]], kept: int
) -> None:
    text = lines_of(*groups)
    once, dropped = rewritten(text)
    assert (len(once.splitlines()), dropped) == (kept, len(text.splitlines()) - kept)
    assert rewritten(once) == (once, 0)
