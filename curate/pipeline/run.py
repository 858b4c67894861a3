"""Long runs over a dataset: shards that several processes share, resuming, clean-up."""

from __future__ import annotations

import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from curate.core.errors import DataError, LockedError
from curate.core.protocols import Source
from curate.core.records import escape_unprintable
from curate.engine.leases import Leases
from curate.layouts import LAYOUTS, describe
from curate.manifest import store
from curate.pipeline import assembly
from curate.pipeline.object_output import ObjectOutput
from curate.pipeline.session import Session, count_workers
from curate.pipeline.workspace import Plan, Workspace, load_plan, save_plan
from curate.recipe import Options
from curate.storage.errors import describe_os_error

R = TypeVar("R", bound=Options)


_FINISHER = "finish"  # the lease of the process that will assemble the output
_SETUP = "setup"  # the lease of the process that lists SOURCE or prepares the work folder


@dataclass(frozen=True, slots=True)
class Run(Generic[R]):
    """A run: its dataset, work folder, recipe and session.

    Args:
        source: the dataset.
        workspace: the work folder.
        recipe: what to do.
        session: how to run.
        leases: what this process has taken of the work on this output.
        remote: the output on an object storage, of which the work folder is a temporary copy.
        notes: what the check of the dataset has found and the user has not seen yet.
    """

    source: Source
    workspace: Workspace
    recipe: R
    session: Session
    leases: Leases
    remote: ObjectOutput | None = None
    notes: list[str] = field(default_factory=list)

    def notify_notes(self) -> None:
        """Tell the user what the check of the dataset has found."""
        for line in self.notes:
            self.session.notify(escape_unprintable(line))
        self.notes.clear()

    @contextmanager
    def alone_in_setup(self) -> Iterator[bool]:
        """Hold the right to prepare the work folder; yields whether no other process is at work."""
        with _hold_setup(self.leases, self.session):
            yield not self.leases.others()

    def check_unchanged(self) -> None:
        """Raise `LockedError` if another process has taken over the assembly of the output."""
        if self.session.shards is None:
            self.leases.check(_FINISHER)


@contextmanager
def hold(
    opener: Callable[[], Source], workspace: Workspace, recipe: R, session: Session
) -> Iterator[Run[R]]:
    """Take part in the work on an output; a work folder without any work is removed afterwards.

    One process will assemble the output; those that are given ``--shards`` only add to it.

    Args:
        opener: opens the dataset; may write to the work folder.
        workspace: the work folder.
        recipe: what to do.
        session: how to run.

    Raises:
        SetupError: if the folder cannot be written, or another run will assemble the output.
    """
    created = [path for path in (workspace.root, *workspace.root.parents) if not path.exists()]

    def refuse(holder: str) -> None:
        raise LockedError(
            f"another run is writing {str(workspace.out)!r} ({holder}); wait for it, choose "
            "another OUT, or add processes to it with --shards"
        )

    try:
        workspace.root.mkdir(parents=True, exist_ok=True)
        _check_kinds(workspace.root)
        with Leases(workspace.leases, session.lease_timeout) as leases:
            alone = leases.hold(_FINISHER, refuse) if session.shards is None else nullcontext()
            try:
                with alone:
                    with _hold_setup(leases, session):
                        source = opener()
                    yield Run(source, workspace, recipe, session, leases)
            finally:
                _clean_up(workspace, created, leases)
    except OSError as error:
        raise describe_os_error(error, workspace.out, "written") from error


def _check_kinds(root: Path) -> None:
    """Refuse a work folder with pipes, devices or links, which no run puts there."""
    for path in sorted(root.iterdir()):
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:  # another process of the run has removed it
            continue
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise DataError(
                f"{path} is neither a file nor a folder; remove it, or choose another OUT"
            )


def _hold_setup(leases: Leases, session: Session) -> Any:
    return leases.hold(
        _SETUP, lambda holder: session.notify(f"Waiting for {holder}, which prepares this run.")
    )


def begin(
    run: Run[R], facts: str = store.RUN, strict: bool = False, hold_notes: bool = False
) -> Plan:
    """List the dataset and begin a run, or continue an interrupted one.

    A process with ``--shards`` uses the list that another one has written.

    Args:
        run: the run.
        facts: the file of the manifest that is written last.
        strict: whether malformed annotations end the run; see `Source.check`.
        hold_notes: whether the caller tells the run's notes, after an error would have named
            the same annotation.

    Raises:
        DataError: if SOURCE cannot be used, or there is nothing to finish.
        UsageError: if OUT was begun with other options.
    """
    workspace, session = run.workspace, run.session
    with run.alone_in_setup() as alone:
        joined = load_plan(workspace.plan) if workspace.state.exists() else None
        if session.finish and not workspace.state.exists():
            raise DataError(
                f"{workspace.out} has no shards to assemble; run the same command with --shards "
                "first"
            )
        if joined is None or session.shards is None:
            notes = list(run.source.check(strict))
            plan = _list_source(run)
            for line in _describe(run.source):
                session.notify(escape_unprintable(line))
            run.notes.extend(notes)
            if not hold_notes:
                run.notify_notes()
        else:
            workspace.settle(run.recipe, joined)
            plan = joined
        if not assembly.is_assembled(workspace, facts):
            workspace.prepare(alone)
            workspace.note(
                event="started" if joined is None else "resumed",
                time=clock(),
                host=socket.gethostname(),
                python=sys.version.split()[0],
                platform=sys.platform,
                workers=count_workers(run.recipe, session),
            )
    return plan


def _list_source(run: Run[R]) -> Plan:
    """List the dataset; a list that other processes use is replaced only by an equal one."""
    workspace = run.workspace
    unchecked = workspace.plan.with_name(f"{workspace.plan.name}.{run.leases.token}.partial")
    try:
        plan = save_plan(run.source, unchecked)
        workspace.settle(run.recipe, plan)
        unchecked.replace(workspace.plan)
    finally:
        unchecked.unlink(missing_ok=True)
    return replace(plan, path=workspace.plan)


def _describe(source: Source) -> Iterator[str]:
    """Describe the recognized layout of a dataset; nothing for a table of groups."""
    if source.layout in LAYOUTS:
        yield describe(source)


def clock() -> str:
    """The time in UTC, for the log."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _clean_up(workspace: Workspace, created: list[Path], leases: Leases) -> None:
    """Remove the folders of a run that ended before anybody had done any work."""
    if not workspace.root.is_dir() or workspace.has_work() or leases.others():
        return
    assembly.remove_work(workspace)
    for path in created[1:]:  # those above the work folder, the innermost first
        if any(path.iterdir()):
            return
        path.rmdir()
