"""What a person sees while a run goes on: stderr only, and only on request of the command."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import click
from tqdm import tqdm

if TYPE_CHECKING:
    from curate.pipeline.session import Snapshot


@contextmanager
def watching(quiet: bool) -> Iterator[Callable[[Snapshot], None]]:
    """Show images per second, faces so far and time left; yields the run's watcher."""
    bar: tqdm[Any] | None = None

    def watch(now: Snapshot) -> None:
        nonlocal bar
        if quiet:
            return
        if bar is None:
            bar = tqdm(
                total=now.total,
                initial=now.resumed,
                unit=" images",
                dynamic_ncols=True,
                smoothing=0.1,
            )
        bar.set_postfix(faces=now.faces, withheld=now.withheld, refresh=False)
        bar.update(now.images - bar.n)

    try:
        yield watch
    finally:
        if bar is not None:
            bar.close()


@contextmanager
def stop_on_interrupt(stop: threading.Event) -> Iterator[None]:
    """Let the first Ctrl-C finish the shards in hand, and the second stop at once."""

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        click.echo("\nFinishing the shards in hand; Ctrl-C again stops at once.", err=True)

    def now(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, ask), signal.signal(signal.SIGTERM, now)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGTERM, before[1])
