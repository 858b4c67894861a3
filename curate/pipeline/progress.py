"""Progress on stderr: a bar in a terminal or a notebook, a line a minute in a log file."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from curate.core.records import escape_unprintable
from curate.pipeline.session import Session, Snapshot, Step, ignore
from curate.report.text import typeset, wrap

if TYPE_CHECKING:
    from tqdm import tqdm

_SECONDS_PER_LINE = 60.0
_ITEMS_PER_STEP = 1000

T = TypeVar("T")


@contextmanager
def show_progress(session: Session, quiet: bool) -> Iterator[Session]:
    """Give a session without callbacks a progress bar and messages on stderr.

    Args:
        session: how to run; what it reports to is kept.
        quiet: show nothing.
    """
    with show_snapshots(quiet) as watch:
        yield replace(
            session,
            watch=watch if session.watch is ignore else session.watch,
            notify=make_notifier(quiet) if session.notify is ignore else session.notify,
        )


@contextmanager
def show_snapshots(quiet: bool) -> Iterator[Callable[[Snapshot], None]]:
    """Show images, rate and counts; yields what is called with each snapshot."""
    with _open_display(quiet) as show:
        yield lambda now: show(_to_step(now), _counts(now), now.resumed)


@contextmanager
def show_steps(quiet: bool) -> Iterator[Callable[[Step], None]]:
    """Show each step of a run in turn; yields what is called with its progress."""
    with _open_display(quiet) as show:
        yield lambda now: show(now, {}, now.done)


def counted(items: Iterable[T], watch: Callable[[Step], None], what: str, unit: str) -> Iterator[T]:
    """Yield items, reporting their number while there are many.

    Args:
        items: the items.
        watch: called with the progress.
        what: the step.
        unit: what is counted, in the plural.
    """
    for number, item in enumerate(items, start=1):
        if number % _ITEMS_PER_STEP == 0:
            watch(Step(what, unit, number, None))
        yield item


@contextmanager
def above_bars() -> Iterator[None]:
    """Remove progress bars from the terminal while something is printed, and show them again."""
    if "tqdm" not in sys.modules:
        yield
        return
    from tqdm import tqdm

    with tqdm.external_write_mode():
        yield


def make_notifier(quiet: bool) -> Callable[[str], None]:
    """Return a function that prints a message on stderr, or ignores it."""
    if quiet or sys.stderr is None:
        return ignore
    return _notify


def _notify(line: str) -> None:
    text = escape_unprintable(typeset(line))
    if sys.stderr.isatty():
        text = wrap(text, shutil.get_terminal_size().columns)
    if "tqdm" in sys.modules:  # above a progress bar, not inside it
        from tqdm import tqdm

        tqdm.write(text, file=sys.stderr)
    else:
        print(text, file=sys.stderr, flush=True)


_Show = Callable[[Step, dict[str, int], int], None]


@contextmanager
def _open_display(quiet: bool) -> Iterator[_Show]:
    if quiet or sys.stderr is None:
        yield lambda *_: None
    elif not sys.stderr.isatty() and "ipykernel" not in sys.modules:
        yield _Lines().show
    else:
        bars = _Bars()
        try:
            yield bars.show
        finally:
            bars.close()


def _to_step(now: Snapshot) -> Step:
    return Step("", "images", now.images, now.total)


def _counts(now: Snapshot) -> dict[str, int]:
    if now.removed is not None and now.added is not None:
        return {"removed": now.removed, "added": now.added}
    return ({} if now.faces is None else {"faces": now.faces}) | {"withheld": now.withheld}


class _Bars:
    """A progress bar, replaced when the next step begins."""

    def __init__(self) -> None:
        self._bar: tqdm[Any] | None = None
        self._what = ""

    def show(self, now: Step, counts: dict[str, int], resumed: int) -> None:
        if self._bar is None or now.what != self._what:
            from tqdm import tqdm  # slow to import, and only runs need it

            self.close()
            self._what = now.what
            self._bar = tqdm(
                desc=now.what or None,
                total=now.total,
                initial=resumed,
                unit=f" {now.unit}",
                dynamic_ncols=True,
                smoothing=0.1,
            )
        if counts:
            self._bar.set_postfix(counts, refresh=False)
        self._bar.update(now.done - self._bar.n)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class _Lines:
    """A line when a step of known length begins, and one a minute."""

    def __init__(self) -> None:
        self._began = self._last = time.monotonic()
        self._what = ""

    def show(self, now: Step, counts: dict[str, int], resumed: int) -> None:
        moment = time.monotonic()
        if now.what == self._what and moment - self._last < _SECONDS_PER_LINE:
            return
        is_new = now.what != self._what
        if is_new:
            self._began = moment
        self._what, self._last = now.what, moment
        if is_new and now.total is None:  # it may be over at once
            return
        of = "" if now.total is None else f" of {now.total:,}"
        parts = [f"{now.done:,}{of} {now.unit}"]
        rate = (now.done - resumed) / max(moment - self._began, 1e-9)
        if counts and rate > 0 and now.total is not None:
            left = (now.total - now.done) / rate / 60
            parts += [f"{rate:.1f} {now.unit}/s", f"{left:,.0f} min left"]
        parts += [f"{count:,} {name}" for name, count in counts.items()]
        what = f"{now.what}: " if now.what else ""
        print(what + ", ".join(parts), file=sys.stderr, flush=True)
