"""Leases: which process works on what, in a folder that several machines share.

A lease is a folder that appears by one rename, which fails if the name is taken; nothing
depends on ``flock`` or on clocks that agree. Its holder shows that it is alive by touching
one file (the heartbeat). A lease whose holder has stopped is taken over under the next
number, so that of two processes that want it one gets it::

    leases/owners/HOST-PID-ABCD1234    a process; the modification time is its heartbeat
    leases/00017.0/owner               shard 17 was held by a process that has stopped,
    leases/00017.1/owner               and is held by another one now

A process that was suspended can wake up after its leases were taken over. It then repeats
work at most: a shard is committed by one rename, and equal records give equal bytes.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from curate.core.errors import LockedError
from curate.storage.regular import open_text

TIMEOUT_S = 60.0
_MAX_OWNER_BYTES = 4096
_PATIENCE_S = 3.0


class Leases:
    """The leases of one process; a context manager, within which the heartbeat runs.

    Args:
        folder: folder of the leases; created if absent.
        timeout: seconds without a heartbeat after which a process is regarded as stopped.
    """

    def __init__(self, folder: Path, timeout: float = TIMEOUT_S) -> None:
        self._folder = folder
        self._owners = folder / "owners"
        self._timeout = timeout
        self.token = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._held: dict[str, int] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Leases:
        note = {"host": socket.gethostname(), "pid": os.getpid(), "machine": _machine()}
        note["started"] = _start_time(os.getpid())
        partial = self._folder / f"{self.token}.partial"
        try:
            self._owners.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(note), encoding="ascii")
            partial.rename(self._owners / self.token)
        except FileNotFoundError:
            raise self._removed() from None
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        for name in list(self._held):
            self.release(name)
        (self._owners / self.token).unlink(missing_ok=True)

    def claim(self, name: str) -> bool:
        """Take a lease that nobody holds, or whose holder has stopped; False if it is held.

        Raises:
            LockedError: if the folder was removed, as by a run that has finished.
        """
        number, owner = self._newest(name)
        if owner is not None and self._is_alive(owner):
            return False
        return self._take(name, number + 1)

    def release(self, name: str) -> None:
        """Give a lease back, with those of stopped processes under the same name."""
        number = self._held.pop(name, -1)
        for found in range(number, -1, -1):
            folder = self._folder / f"{name}.{found}"
            # Another process may remove it too, or have taken the name again.
            with contextlib.suppress(OSError):
                (folder / "owner").unlink()
            with contextlib.suppress(OSError):
                folder.rmdir()

    def check(self, name: str) -> None:
        """Raise `LockedError` if this process was suspended and its lease was taken over."""
        if self._newest(name) != (self._held.get(name), self.token):
            raise LockedError(
                "this process was suspended for so long that another one has continued its run; "
                "there is nothing left for it to do"
            )

    @contextmanager
    def hold(self, name: str, complain: Callable[[str], object]) -> Iterator[None]:
        """Hold a lease for a block, waiting until nobody else holds it.

        Args:
            name: the lease.
            complain: called once with the holder if it is held for more than a few seconds;
                raises to end the waiting.
        """
        began, told = time.monotonic(), False
        while not self.claim(name):
            if not told and time.monotonic() - began > _PATIENCE_S:
                complain(self.describe_holder(name))
                told = True
            time.sleep(0.05)
        try:
            yield
        finally:
            self.release(name)

    def describe_holder(self, name: str) -> str:
        """The holder of a lease, such as ``process 17 on node-3``."""
        note = self._load(self._newest(name)[1] or "") or {}
        if "pid" not in note or "host" not in note:
            return "unknown process"
        return f"process {note['pid']} on {note['host']}"

    def others(self) -> bool:
        """Whether another process is alive and at work in this folder.

        Raises:
            LockedError: if the folder was removed.
        """
        tokens = self._list(self._owners)
        return any(token != self.token and self._is_alive(token) for token in tokens)

    def _newest(self, name: str) -> tuple[int, str | None]:
        """Number and owner of the newest lease of a name; the owner is None if it is released."""
        numbers = [-1]
        for entry in self._list(self._folder):
            found, _, number = entry.rpartition(".")
            if found == name and number.isdecimal():
                numbers.append(int(number))
        newest = max(numbers)
        if newest < 0:
            return -1, None
        try:
            with open_text(self._folder / f"{name}.{newest}" / "owner", "ascii") as file:
                return newest, file.read(_MAX_OWNER_BYTES)
        except (OSError, ValueError):
            return newest, None

    def _list(self, folder: Path) -> list[str]:
        try:
            return os.listdir(folder)  # noqa: PTH208 - names only, of many
        except FileNotFoundError:
            raise self._removed() from None

    def _removed(self) -> LockedError:
        return LockedError(
            f"{self._folder} was removed by another process, as when its run has finished; "
            "run the same command again"
        )

    def _take(self, name: str, number: int) -> bool:
        partial = self._folder / f"{self.token}.{secrets.token_hex(4)}.partial"
        try:
            partial.mkdir()
            (partial / "owner").write_text(self.token, encoding="ascii")
            partial.rename(self._folder / f"{name}.{number}")
        except FileNotFoundError:
            self._list(self._folder)  # raises, if the folder is gone
            return False
        except OSError:
            if not (self._folder / f"{name}.{number}").is_dir():
                raise
            shutil.rmtree(partial, ignore_errors=True)
            return False
        self._held[name] = number
        return True

    def _is_alive(self, token: str) -> bool:
        """Whether a process has shown a heartbeat lately, by the clock of the storage.

        On this machine a process that has ended is known at once.
        """
        if token == self.token:
            return True
        note = self._load(token)
        if note is None:
            return False
        if note.get("machine") == _machine() and not _runs(note.get("pid"), note.get("started")):
            return False
        try:
            os.utime(self._owners / self.token)
            now = (self._owners / self.token).stat().st_mtime
            return now - (self._owners / token).stat().st_mtime <= self._timeout
        except FileNotFoundError:
            return False

    def _load(self, token: str) -> dict[str, Any] | None:
        if not token or "/" in token:
            return None
        try:
            # Opening the file makes a network file system fetch its attributes.
            with open_text(self._owners / token, "ascii") as file:
                note = json.loads(file.read(_MAX_OWNER_BYTES))
        except (OSError, ValueError, RecursionError):
            return None
        return note if isinstance(note, dict) else None

    def _beat(self) -> None:
        while not self._end.wait(self._timeout / 6):
            try:
                os.utime(self._owners / self.token)
            except OSError:
                continue  # the folder is gone, or the storage has failed: the work will notice


def _machine() -> str:
    """What processes that see each other's ids have in common."""
    parts = [socket.gethostname()]
    for path, read in (
        ("/proc/sys/kernel/random/boot_id", lambda path: Path(path).read_text().strip()),
        ("/proc/self/ns/pid", os.readlink),
    ):
        with contextlib.suppress(OSError):
            parts.append(read(path))
    return ":".join(parts)


def _runs(pid: object, started: object) -> bool:
    """Whether a process of this machine runs, and is not another one with the same id."""
    if not isinstance(pid, int) or pid <= 0:
        return False
    if started is not None:
        return _start_time(pid) == started
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _start_time(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot, or None if it has ended or is unknown."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else int(fields[19])
    except (OSError, ValueError, IndexError):
        return None
