from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.layouts.sidecars.text import find_in_text, without_masks

DRAW = random.Random(7)  # noqa: S311 - the same picture every time
JPEG = b"\xff\xd8\xff\xe0" + DRAW.randbytes(2400)
PICTURES = {
    "base64": base64.b64encode(JPEG),
    "lines": base64.encodebytes(JPEG),
    "slashes": base64.b64encode(JPEG).replace(b"/", b"\\/"),
    "escapes": repr(JPEG).encode(),
    "numbers": " ".join(map(str, JPEG)).encode(),
    "indented": ",\n        ".join(map(str, JPEG)).encode(),
    "hexadecimal": JPEG.hex().encode(),
}
FILLER = b'{"file_name": "000000391895.jpg", "bbox": [473.07, 395.93, 38.65]}, '


def pieces_of(text: bytes, cuts: list[int]) -> Iterator[bytes]:
    offsets = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    for start, stop in pairwise(offsets):
        yield text[start:stop]


@pytest.mark.parametrize("name", PICTURES)
@given(
    offset=st.integers(0, 150_000), cuts=st.lists(st.integers(0, 200_000), min_size=0, max_size=6)
)
def test_an_image_is_found_at_every_offset_and_cut(name: str, offset: int, cuts: list[int]) -> None:
    before = (FILLER * (offset // len(FILLER) + 1))[:offset]
    text = before + b'"' + PICTURES[name] + b'"' + FILLER
    assert find_in_text(pieces_of(text, cuts)) is not None


@given(cuts=st.lists(st.integers(0, 200_000), max_size=6))
def test_annotations_pass_however_they_are_cut(cuts: list[int]) -> None:
    runs = b'{"counts": "' + b"PQk2:f9j0c0L3N2N1O2N100O1\\\\O10000O" * 99 + b'", "n": 1}'
    assert find_in_text(pieces_of(FILLER * 99 + runs + FILLER * 99, cuts)) is None


@given(
    cuts=st.lists(st.integers(0, 400), max_size=20),
    text=st.text('"counts: [19,]ozZ\\\n', max_size=300),
)
def test_cuts_do_not_change_what_remains_of_run_lengths(text: str, cuts: list[int]) -> None:
    data = text.encode()
    assert b"".join(without_masks(pieces_of(data, cuts))) == b"".join(without_masks([data]))
