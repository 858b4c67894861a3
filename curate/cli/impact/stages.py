"""How far a command is that works in stages: on stderr, for a person."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from tqdm import tqdm

_LINE_EVERY_S = 60.0  # a log file is read afterwards: a line a minute says enough

Watch = Callable[[str, int, int | None], None]


@contextmanager
def watching_stages(quiet: bool) -> Iterator[Watch]:
    """Yields what is told the stage, how many images are done, and of how many.

    In a terminal that is a bar for each stage; in a log file it is a line now and then.
    """
    if quiet or sys.stderr is None:
        yield lambda *_: None
    elif not sys.stderr.isatty():
        yield _Lines().watch
    else:
        bars = _Bars()
        try:
            yield bars.watch
        finally:
            bars.close()


class _Bars:
    def __init__(self) -> None:
        self._stage = ""
        self._bar: tqdm[Any] | None = None

    def watch(self, stage: str, done: int, total: int | None) -> None:
        if self._bar is None or stage != self._stage:
            self.close()
            self._stage = stage
            self._bar = tqdm(total=total, desc=stage, unit=" images", dynamic_ncols=True)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class _Lines:
    def __init__(self) -> None:
        self._last = time.monotonic()

    def watch(self, stage: str, done: int, total: int | None) -> None:
        moment = time.monotonic()
        if moment - self._last >= _LINE_EVERY_S:
            self._last = moment
            of = "" if total is None else f" of {total:,}"
            click.echo(f"{done:,}{of} images {stage}", err=True)
