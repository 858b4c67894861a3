from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from curate.codec.decoding import check_size, decoder_messages, opaque_as_rgb
from curate.core.errors import WithheldError

LINE = b"Corrupt JPEG data: premature end of data segment\n"


def test_threads_that_decode_at_once_leave_standard_error_as_it_was(tmp_path: Path) -> None:
    """And none takes the messages of another."""
    before, caught = os.fstat(2), []
    start = threading.Barrier(8)

    def decode(number: int) -> None:
        start.wait()
        for _ in range(50):
            with decoder_messages() as messages:
                for _ in range(number):
                    os.write(2, LINE)
            caught.append((number, len(messages)))

    threads = [threading.Thread(target=decode, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = os.fstat(2)
    assert (after.st_dev, after.st_ino) == (before.st_dev, before.st_ino)
    assert len(caught) == 400
    assert all(number == found for number, found in caught)


@pytest.mark.parametrize("last", [255, 9])
def test_opaque_frames_are_converted_one_at_a_time(last: int) -> None:
    seen: list[weakref.ref[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]] = []

    def decoded() -> Iterator[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
        for number in range(6):
            frame = np.full((4, 5, 4), 255, np.uint8)
            frame[..., 0] = number
            frame[0, 0, 3] = last if number == 5 else 255
            assert all(earlier() is None for earlier in seen[:-1])
            seen.append(weakref.ref(frame))
            yield frame
            del frame

    found = opaque_as_rgb(decoded())
    assert {frame.shape[2] for frame in found} == {3 if last == 255 else 4}
    assert [int(frame[0, 0, 0]) for frame in found] == list(range(6))
    assert all(frame[1:, :, 3:].min(initial=255) == 255 for frame in found)


def test_several_frames_may_have_half_as_many_pixels() -> None:
    check_size(10, 10, 1, 100)
    check_size(10, 10, 3, 600)
    for size in ((10, 10, 1, 99), (10, 10, 3, 599)):
        with pytest.raises(WithheldError, match="--max-pixels"):
            check_size(*size)
