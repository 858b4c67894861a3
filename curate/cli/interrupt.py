"""Interruption of commands: the first Ctrl-C finishes the work in progress, the second stops."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from curate.cli.printing import echo


@contextmanager
def stop_on_interrupt(stop: threading.Event, work: str = "shards") -> Iterator[None]:
    """Make the first Ctrl-C finish the work in progress, and the second stop at once.

    Args:
        stop: set by the first Ctrl-C.
        work: what is finished first, for the message.
    """

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        echo("", f"Finishing the {work} in progress; press Ctrl-C again to stop now.", err=True)

    def now(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, ask), signal.signal(signal.SIGTERM, now)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGTERM, before[1])
