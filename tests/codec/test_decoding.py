from __future__ import annotations

import os
import threading
from pathlib import Path

from curate.codec.decoding import decoder_messages

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
