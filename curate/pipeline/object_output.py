"""OUT on an object storage, such as ``s3://bucket/out``: uploaded shard by shard.

Objects cannot be renamed: the files of a shard are uploaded first and its part of the manifest
last, which commits it. ``manifest/run.json`` is the last object of all. The work folder is a
temporary one on this machine; what other processes have committed is fetched from the storage.
There are no leases: equal records and recipe give equal bytes, so that it does not matter how many
processes do a shard, nor which of them is the last to store an object::

    OUT/data/…                            the images, as soon as their shard is done
    OUT/.curate/members/…                 images to be written into their containers
    OUT/manifest/records/part-NNNNN.parquet   a committed shard
    OUT/.curate/state.json, models.json   recipe, libraries, plan and models of the run
    OUT/.curate/tallies/NNNNN.json        counts of a committed shard
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from curate.core.errors import CurateError, DataError, SetupError, UsageError
from curate.engine.shards import shard_name
from curate.layouts.access.address import is_address
from curate.layouts.access.remote import cause, connect, retry
from curate.manifest import store
from curate.manifest.store import DATA
from curate.pipeline.shard import MODELS, PART, TALLY
from curate.pipeline.workspace import WORK, Workspace
from curate.storage.atomic import save_bytes

T = TypeVar("T")

_THREADS = 8
_MEMBERS = f"{WORK}/members"
_RECORDS = f"{store.MANIFEST}/{store.RECORDS_FOLDER}"


class ObjectOutput:
    """An output on an object storage.

    Credentials come from the storage's own configuration and are never read.

    Attributes:
        uri: for example ``s3://bucket/out``.
        loose: whether the dataset's images are files of their own; otherwise they are stored
            apart until their containers are rebuilt.

    Args:
        uri: its URI.

    Raises:
        UsageError: if the URI is invalid.
        SetupError: if it cannot be opened, or a package is missing.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        self.loose = True
        self._storage, self._root = connect(uri, "OUT")

    def is_finished(self) -> bool:
        """Whether the output is complete."""
        return self.load(f"{store.MANIFEST}/{store.RUN}") is not None

    def load_run(self, folder: Path) -> dict[str, Any]:
        """Load the facts of a finished output, and copy what its summary needs to a folder."""
        self.download(folder, [f"{store.MANIFEST}/{n}" for n in (store.RUN, store.OTHERS)])
        return store.load_run(folder / store.MANIFEST)

    def fetch_state(self, workspace: Workspace) -> bool:
        """Fetch the state of a run that another process has begun; returns whether there is one."""
        for path in (workspace.state, workspace.models):
            data = self.load(f"{WORK}/{path.name}")
            if data is not None:
                save_bytes(path, data)
        return workspace.state.exists()

    def save_state(self, workspace: Workspace) -> None:
        """Store the state of the run."""
        self.save(f"{WORK}/{workspace.state.name}", workspace.state.read_bytes())

    def fetch_shards(self, workspace: Workspace) -> None:
        """Fetch the manifest parts of the shards that other processes have committed."""
        numbers = [store.part_number(name) for name in self.list_names(_RECORDS)]
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(lambda n: self.fetch_shard(workspace, n), filter(_is_number, numbers)))

    def fetch_shard(self, workspace: Workspace, number: int) -> bool:
        """Fetch the manifest part of a shard; returns whether it is committed."""
        target = workspace.shards / shard_name(number)
        if target.is_dir():
            return True
        part = self.load(f"{_RECORDS}/{store.part_name(number)}")
        if part is None:
            return False
        tally = self.load(f"{WORK}/tallies/{shard_name(number)}.json")
        with tempfile.TemporaryDirectory(dir=workspace.staging) as folder:
            made = Path(folder, "shard")
            made.mkdir()
            (made / PART).write_bytes(part)
            if tally is not None:
                (made / TALLY).write_bytes(tally)
            made.rename(target)
        return True

    def commit(self, workspace: Workspace, number: int) -> None:
        """Upload a shard that is committed in the work folder: its part last."""
        shard = workspace.shards / shard_name(number)
        if self.load(f"{WORK}/{MODELS}") is None and workspace.models.exists():
            self.save(f"{WORK}/{MODELS}", workspace.models.read_bytes())
        self.upload(shard / DATA, DATA if self.loose else _MEMBERS)
        self.save(f"{WORK}/tallies/{shard_name(number)}.json", (shard / TALLY).read_bytes())
        self.save(f"{_RECORDS}/{store.part_name(number)}", (shard / PART).read_bytes())
        shutil.rmtree(shard / DATA, ignore_errors=True)

    def fetch_members(self, workspace: Workspace, container: str) -> None:
        """Fetch the images of one container to the work folder."""
        folder = f"{_MEMBERS}/{container}"
        names = (name.removeprefix(f"{_MEMBERS}/") for name, _ in self._find(folder))
        self.download(workspace.members, names, _MEMBERS)

    def place_container(self, workspace: Workspace, container: str) -> None:
        """Upload a container that was rebuilt, and remove the local file."""
        path = workspace.final / DATA / container
        self._upload_file(path, f"{DATA}/{container}")
        path.unlink()

    def finish(self, out: Path) -> None:
        """Upload what is beside the images, ``run.json`` last, and remove the work objects."""
        run = f"{store.MANIFEST}/{store.RUN}"
        self.upload(out, "", skip=lambda path: path == run or path.startswith(f"{_RECORDS}/"))
        self.save(run, (out / run).read_bytes())
        self._try("removed", WORK, lambda path: _remove(self._storage, path))

    def upload(self, folder: Path, to: str, skip: Callable[[str], bool] = lambda _: False) -> None:
        """Upload every file below a folder."""
        paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
        names = ((path.relative_to(folder).as_posix(), path) for path in paths)
        wanted = [(f"{to}/{name}" if to else name, path) for name, path in names if not skip(name)]
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(lambda pair: self._upload_file(pair[1], pair[0]), wanted))

    def _upload_file(self, path: Path, to: str) -> None:
        """Upload a file of any size; in parts where the storage has them."""
        self._try("written", to, lambda full: self._storage.put_file(str(path), full))

    def download(self, folder: Path, names: Iterable[str], below: str = "") -> None:
        """Download files to the same paths below a folder.

        Args:
            folder: where to.
            names: their paths in the folder ``below`` of the output.
            below: a path in the output, or empty for the output itself.
        """

        def fetch(name: str) -> None:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            path = f"{below}/{name}" if below else name
            done = self._try("read", path, lambda full: _get_file(self._storage, full, target))
            if done is None:
                raise SetupError(f"{path!r} was removed from {self.uri} meanwhile")

        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(fetch, names))

    def find(self, with_data: bool = True) -> Iterator[tuple[str, int]]:
        """Paths and sizes of its files, without those of a run in progress.

        Args:
            with_data: whether to list the files of ``data/``, of which there may be many.
        """
        top = self._try("listed", "", lambda path: self._storage.ls(path, detail=True))
        for details in sorted(top or [], key=lambda details: str(details["name"])):
            name = self._relative(details["name"].rstrip("/"))
            if details["type"] != "directory":
                yield name, details["size"] or 0
            elif name != WORK and (with_data or name != DATA):
                yield from self._find(name)

    def _find(self, folder: str) -> Iterator[tuple[str, int]]:
        found = self._try("listed", folder, lambda path: self._storage.find(path, detail=True))
        for full, details in (found or {}).items():
            yield self._relative(full), details["size"] or 0

    def _relative(self, full: str) -> str:
        """Path in the output of what the storage calls by its whole path."""
        return full.lstrip("/").removeprefix(f"{self._root.lstrip('/')}/")

    def list_names(self, folder: str) -> list[str]:
        """Names in a folder; none if it does not exist."""
        found = self._try("listed", folder, lambda p: self._storage.ls(p, detail=False)) or []
        return [name.rstrip("/").rpartition("/")[2] for name in found]

    def load(self, path: str) -> bytes | None:
        """Content of an object, or None if it does not exist."""
        return self._try("read", path, lambda full: bytes(self._storage.cat_file(full)))

    def save(self, path: str, data: bytes) -> None:
        """Store an object; repeating it changes nothing."""
        self._try("written", path, lambda full: self._storage.pipe_file(full, data))

    def remove(self, path: str) -> None:
        """Remove an object; repeating it changes nothing."""
        self._try("removed", path, self._storage.rm_file)

    def _try(self, action: str, path: str, do: Callable[[str], T]) -> T | None:
        """Do something, again if the connection breaks; None if there is no such object."""
        full = f"{self._root}/{path}" if path else self._root

        def once() -> T:
            self._storage.invalidate_cache()
            return do(full)

        try:
            return retry(once)
        except FileNotFoundError:
            return None
        except (CurateError, MemoryError):
            raise
        except Exception as error:
            raise self._error(action, path, error) from None

    def _error(self, action: str, path: str, error: Exception) -> SetupError:
        what = f"{self.uri}/{path}" if path else self.uri
        return SetupError(
            f"{what} cannot be {action}: {cause(error)}; fix this and run the same command again "
            "to continue"
        )


def open_output(source: str, uri: str) -> ObjectOutput:
    """Open an output on an object storage.

    Args:
        source: SOURCE, which must not overlap with it.
        uri: the URI of OUT.

    Raises:
        UsageError: if they overlap, or a URI is invalid.
        SetupError: if it cannot be opened.
    """
    if is_address(source):
        a, b = f"{source.rstrip('/')}/", f"{uri.rstrip('/')}/"
        if a.startswith(b) or b.startswith(a):
            raise UsageError(f"OUT {uri!r} and SOURCE overlap; choose another path")
    return ObjectOutput(uri)


@contextmanager
def fetched(out: str | Path, with_data: bool = True) -> Iterator[Path]:
    """An output as a local folder: itself, or a temporary copy of one on an object storage.

    Files that the block adds or changes, such as a card, are uploaded when it ends without an
    error, and then those that it removes are removed.

    Args:
        out: a path or a URI.
        with_data: whether to copy the images too, which needs disk space for all of them.

    Raises:
        DataError: if there is no such output.
        SetupError: if the storage does not respond.
    """
    if not is_address(str(out)):
        yield Path(out)
        return
    remote = ObjectOutput(str(out))
    names, size = [], 0
    for name, length in remote.find(with_data):
        names.append(name)
        size += length
    if not names:
        raise DataError(f"{out} has no files; give the URI of an output")
    _check_space(str(out), size)
    with tempfile.TemporaryDirectory(prefix="curate-out-") as folder:
        copy = Path(folder, "out")
        copy.mkdir()
        if remote.list_names(DATA):
            (copy / DATA).mkdir()
        remote.download(copy, names)
        before = {name: (copy / name).stat().st_mtime_ns for name in names}
        yield copy
        remote.upload(copy, "", skip=lambda name: _stamp(copy / name) == before.get(name))
        for name in names:
            if not (copy / name).exists():
                remote.remove(name)


def _stamp(path: Path) -> int:
    return path.stat().st_mtime_ns


def _check_space(out: str, size: int) -> None:
    """Refuse a copy for which there is no space, before anything is copied."""
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if size > free:
        raise SetupError(
            f"a copy of {out} needs {size:,} bytes in {folder}, which has {free:,}; set TMPDIR to "
            "a folder on a larger disk"
        )


def _get_file(storage: Any, full: str, target: Path) -> bool:
    """Download a file of any size; True, if it was there."""
    storage.get_file(full, str(target))
    return True


def _is_number(number: int | None) -> bool:
    return number is not None


def _remove(storage: Any, path: str) -> None:
    storage.rm(path, recursive=True)
