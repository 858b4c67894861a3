"""What a person sees while a command goes on in steps: stderr only."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from tqdm import tqdm

if TYPE_CHECKING:
    from curate.pipeline.session import Step

_LINE_EVERY_S = 60.0  # a log file is read afterwards: a line a minute says enough


@contextmanager
def watching_steps(quiet: bool) -> Iterator[Callable[[Step], None]]:
    """Show what is being done and how far it is; yields the watcher.

    In a terminal that is a bar for each thing that is done; in a log file it is a line
    when one begins, and now and then.
    """
    if quiet or sys.stderr is None:
        yield lambda _: None
    elif not sys.stderr.isatty():
        yield _Lines().watch
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


class _Lines:
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
