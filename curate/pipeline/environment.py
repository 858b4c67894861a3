"""Jobs on any engine, and what other machines must have in common: code, libraries, storage."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from curate.core.errors import DataError, SetupError
from curate.engine.local import Finished, Job, LocalPool, Progress, Report
from curate.engine.ray import RayPool
from curate.engine.ray_cluster import RayOptions
from curate.engine.shards import Shard, shard_name
from curate.pipeline.recipe_changes import describe_changes
from curate.pipeline.session import Session
from curate.pipeline.workspace import libraries
from curate.storage.atomic import save_bytes
from curate.storage.regular import load_json


@dataclass(frozen=True, slots=True)
class RemoteJob:
    """A job that refuses to start in another environment than that of the run's first process.

    Of a shard that is done one record at a time it marks the record in work, on the storage, so
    that whoever finds the process dead knows at which.

    Args:
        job: the work.
        proof: a file on the storage that all machines share, or None if nothing is written.
        sha256: its digest, which shows that it is the same storage.
        marks: folder of the marks, or None.
        code: digest of the package.
        libraries: versions of libraries that can change an output.
    """

    job: Job
    proof: Path | None
    sha256: str | None
    marks: Path | None
    code: str
    libraries: dict[str, str]

    def open(self) -> Callable[[Shard, Report], Any]:
        """Check the environment, then open the job."""
        if self.proof is not None:
            self._check_storage(self.proof)
        if self.libraries != libraries():
            changed = describe_changes(self.libraries, libraries())
            raise SetupError(f"other versions of packages than the run ({changed}); install those")
        if self.code != digest_package():
            raise SetupError(
                f"another build of curate-dataset than the run ({self.code[:12]} → "
                f"{digest_package()[:12]}); install the same on every node"
            )
        inner = self.job.open()

        def work(shard: Shard, report: Report) -> Any:
            def mark(index: int, note: Any) -> None:
                if shard.one_by_one and self.marks is not None:
                    _save_mark(self.marks, shard.number, index)
                report(index, note)

            return inner(shard, mark)

        return work

    def _check_storage(self, proof: Path) -> None:
        same = "OUT must be on storage that every node mounts at the same path"
        try:
            found = _digest_file(proof)
        except OSError as error:
            raise SetupError(f"{proof} cannot be read ({error.strerror}); {same}") from None
        if found != self.sha256:
            raise SetupError(f"{proof} is not the file of the run; {same}")


def make_remote(job: Job, proof: Path | None, marks: Path | None = None) -> RemoteJob:
    """Wrap a job for processes on other machines, with the facts of this one."""
    sha256 = _digest_file(proof) if proof is not None else None
    return RemoteJob(job, proof, sha256, marks, digest_package(), libraries())


def run_job(
    job: Job,
    shards: Iterable[Shard | None],
    session: Session,
    proof: Path | None,
    workers: int,
    *,
    gpus: float = 0.0,
    marks: Path | None = None,
    is_committed: Callable[[int], bool] = lambda _: False,
) -> Iterator[Progress | Finished]:
    """Run a job on the session's engine; yields what `LocalPool.run` yields.

    Args:
        job: the work.
        shards: the shards.
        session: how to run.
        proof: a file on the storage that every machine must see, or None.
        workers: worker processes of the local engine.
        gpus: GPUs per worker on Ray.
        marks: folder of marks; see `RemoteJob`.
        is_committed: whether a shard is committed on the storage.
    """
    engine, _, address = session.engine.partition(":")
    if engine == "local":
        yield from LocalPool(workers, session.stop).run(job, shards)
        return
    options = RayOptions(address, session.workers, gpus, session.shard_timeout)
    load_index = partial(load_mark, marks) if marks is not None else lambda _: -1
    pool = RayPool(options, is_committed, load_index, session.stop)
    yield from pool.run(make_remote(job, proof, marks), shards)


def load_mark(marks: Path, number: int) -> int:
    """Index of the record at which a process that did one at a time has stopped, or -1."""
    try:
        return int(load_json(marks / shard_name(number)))
    except (OSError, ValueError, TypeError, DataError):
        return -1


def digest_package() -> str:
    """SHA-256 of the source code of the package, by file name."""
    spec = find_spec("curate")
    digest = hashlib.sha256()
    for folder in spec.submodule_search_locations or [] if spec else []:
        for path in sorted(Path(folder).rglob("*.py")):
            data = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(folder).as_posix()} {data}\n".encode())
    return digest.hexdigest()


def _save_mark(marks: Path, number: int, index: int) -> None:
    with contextlib.suppress(FileExistsError):
        marks.mkdir()
    save_bytes(marks / shard_name(number), str(index).encode())


def _digest_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
