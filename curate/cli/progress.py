"""What a person sees while a run goes on: stderr only, and only on request of the command."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import click
from tqdm import tqdm

if TYPE_CHECKING:
    from curate.pipeline.session import Snapshot, Step


_LINE_EVERY_S = 60.0  # a log file is read afterwards: a line a minute says enough


@contextmanager
def watching(quiet: bool) -> Iterator[Callable[[Snapshot], None]]:
    """Show images per second, faces so far and time left; yields the run's watcher.

    In a terminal that is a bar; in a log file it is a line now and then.
    """
    if quiet or sys.stderr is None:
        yield lambda _: None
    elif not sys.stderr.isatty():
        yield _Lines().watch
    else:
        bar = _Bar()
        try:
            yield bar.watch
        finally:
            bar.close()


def telling(quiet: bool) -> Callable[[str], None]:
    """What shows a line of a run to the user."""
    if quiet or sys.stderr is None:
        return lambda _: None
    return lambda line: click.echo(line, err=True)


class _Bar:
    """A progress bar, drawn from the first step on."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None

    def watch(self, now: Snapshot) -> None:
        if self._bar is None:
            self._bar = tqdm(
                total=now.total,
                initial=now.resumed,
                unit=" images",
                dynamic_ncols=True,
                smoothing=0.1,
            )
        counts = {} if now.faces is None else {"faces": now.faces}
        self._bar.set_postfix({**counts, "withheld": now.withheld}, refresh=False)
        self._bar.update(now.images - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class _Lines:
    """A line of progress a minute."""

    def __init__(self) -> None:
        self._began = self._last = time.monotonic()

    def watch(self, now: Snapshot) -> None:
        moment = time.monotonic()
        if moment - self._last < _LINE_EVERY_S:
            return
        self._last = moment
        rate = (now.images - now.resumed) / (moment - self._began)
        left = f"{(now.total - now.images) / rate / 60:,.0f} min left" if rate > 0 else "starting"
        faces = "" if now.faces is None else f"{now.faces:,} faces, "
        click.echo(
            f"{now.images:,} of {now.total:,} images, {rate:.1f} images/s, {faces}"
            f"{now.withheld:,} withheld, {left}",
            err=True,
        )


@contextmanager
def stop_on_interrupt(stop: threading.Event, work: str = "shards") -> Iterator[None]:
    """Let the first Ctrl-C finish the work in hand, and the second stop at once."""

    def ask(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        click.echo(f"\nFinishing the {work} in hand; Ctrl-C again stops at once.", err=True)

    def now(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, ask), signal.signal(signal.SIGTERM, now)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGTERM, before[1])


@contextmanager
def watching_steps(quiet: bool) -> Iterator[Callable[[Step], None]]:
    """Show what is being done and how far it is; yields the watcher.

    In a terminal that is a bar for each thing that is done; in a log file it is a line
    when one begins, and now and then.
    """
    if quiet or sys.stderr is None:
        yield lambda _: None
    elif not sys.stderr.isatty():
        yield _StepLines().watch
    else:
        bars = _Bars()
        try:
            yield bars.watch
        finally:
            bars.close()


class _Bars:
    """A progress bar, and another one when something else begins."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._what = ""

    def watch(self, now: Step) -> None:
        if self._bar is None or now.what != self._what:
            self.close()
            self._what = now.what
            self._bar = tqdm(
                desc=now.what,
                total=now.total,
                initial=now.done,
                unit=f" {now.unit}",
                dynamic_ncols=True,
                smoothing=0.1,
            )
        self._bar.update(now.done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class _StepLines:
    """A line when something begins, and one a minute."""

    def __init__(self) -> None:
        self._what, self._last = "", 0.0

    def watch(self, now: Step) -> None:
        moment = time.monotonic()
        if now.what == self._what and moment - self._last < _LINE_EVERY_S:
            return
        self._what, self._last = now.what, moment
        of = "" if now.total is None else f" of {now.total:,}"
        click.echo(f"{now.what}: {now.done:,}{of} {now.unit}", err=True)
