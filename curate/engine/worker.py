"""The child's side of the local pool: open the job once, then do shard after shard."""

from __future__ import annotations

import os
import signal
import sys
import threading
from multiprocessing.connection import Connection


def main(channel: int, lifeline: int) -> None:
    """Serve the parent until it says stop or is gone.

    Args:
        channel: descriptor of a socket shared with the parent.
        lifeline: descriptor of a pipe that the parent holds open while it lives.
    """
    # Ctrl-C reaches the whole group; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, args=(lifeline,), daemon=True).start()
    parent = Connection(channel)
    try:
        sys.path[:] = parent.recv()
        _serve(parent)
    except (EOFError, ConnectionError):
        pass


def _serve(parent: Connection) -> None:
    try:
        work = parent.recv().open()
    except Exception as error:  # every failure to start belongs to the parent
        parent.send(("failed", _portable(error)))
        return
    parent.send(("ready", None))
    while (shard := parent.recv()) is not None:
        try:
            result = work(shard, lambda index, note: parent.send(("at", (index, note))))
        except Exception as error:  # the parent stops the run and says why
            parent.send(("failed", _portable(error)))
            return
        parent.send(("done", result))


def _portable(error: Exception) -> Exception:
    """An error that survives pickling, with its traceback as a note for bug reports."""
    import pickle
    import traceback

    try:
        copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own object
    except Exception:  # an exception class with a signature of its own
        copy = RuntimeError(f"{type(error).__name__}: {error}")
    copy.add_note("".join(traceback.format_exception(error)))
    return copy  # type: ignore[no-any-return]


def _die_with_parent(lifeline: int) -> None:
    os.read(lifeline, 1)  # returns only when the parent has ended
    os._exit(1)
