"""The work folder inside OUT, from which a later run continues an interrupted one.

::

    OUT/.curate/leases/           which process works on what
    OUT/.curate/state.json        recipe, libraries and plan of the run
    OUT/.curate/plan.jsonl        the records of SOURCE at the start, in order
    OUT/.curate/faces.sqlite      given faces
    OUT/.curate/models.json       the models that detected
    OUT/.curate/source/           a dataset of the Hub, as Parquet; source.json says which
    OUT/.curate/marks/            records in work, of shards whose processes have died
    OUT/.curate/staging/          shards in progress
    OUT/.curate/shards/NNNNN/     shards committed
    OUT/.curate/members/          images to be written into their containers
    OUT/.curate/rebuilt/          the digest of each rebuilt container, and what was left out of it
    OUT/.curate/final/            data/ and manifest/, assembled before they are moved to OUT
    OUT/.curate/old/              what an updated output replaces, until it is complete
    OUT/.curate/log.jsonl         clock times and facts of the host
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any

import curate
from curate.core.errors import DataError, SourceChangedError, UsageError
from curate.core.protocols import Source
from curate.core.records import ImageRecord
from curate.engine.shards import Shard, shard_name
from curate.layouts import explain_no_images
from curate.layouts.access.address import is_address, is_hub_uri
from curate.manifest.store import MANIFEST, RECORDS_FOLDER, part_name, part_number, save_json
from curate.pipeline.recipe_changes import describe_changes, describe_recipe_clash
from curate.recipe import Options
from curate.storage.regular import load_json

WORK = ".curate"
_LIBRARIES = (
    "numpy", "opencv-python", "opencv-python-headless", "pillow", "jpeglib", "pyarrow", "torch",
    "onnxruntime",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """The images of a run.

    Args:
        path: the list of records.
        images: number of records.
        sha256: digest of ids, sizes and modification times.
    """

    path: Path
    images: int
    sha256: str

    def records(self) -> Iterator[ImageRecord]:
        """Iterate over the records in the source's order."""
        return (record for record, _ in self.stamped())

    def stamped(self) -> Iterator[tuple[ImageRecord, str]]:
        """Iterate over the records with their stamps (size and modification time)."""
        with self.path.open("rb") as file:
            yield from map(_parse_line, file)

    def positions(self, size: int) -> Iterator[tuple[int, int]]:
        """Iterate over the shards: the number of each, and where its first record is listed.

        Args:
            size: records per shard.
        """
        with self.path.open("rb") as file:
            position = 0
            for number in range(-(-self.images // size)):
                yield number, position
                position += sum(map(len, islice(file, size)))

    def shard(self, number: int, position: int, size: int) -> Shard:
        """Load one shard, given its position."""
        with self.path.open("rb") as file:
            file.seek(position)
            return Shard(
                number, tuple(record for record, _ in map(_parse_line, islice(file, size)))
            )

    def size_of(self, number: int, size: int) -> int:
        """Number of records of a shard."""
        return min(size, self.images - number * size)


class Workspace:
    """Paths and state of one run's work folder.

    Args:
        out: the output.
        root: the work folder, or None for ``.curate`` inside the output folder.
    """

    def __init__(self, out: Path, root: Path | None = None) -> None:
        self.out = out
        self.name = str(out)  # in messages
        self.updates = False  # whether OUT has the records of another run
        self.root = root or out / WORK
        self.state = self.root / "state.json"
        self.plan = self.root / "plan.jsonl"
        self.faces = self.root / "faces.sqlite"
        self.models = self.root / "models.json"
        self.source = self.root / "source"
        self.staging = self.root / "staging"
        self.marks = self.root / "marks"
        self.shards = self.root / "shards"
        self.members = self.root / "members"
        self.rebuilt = self.root / "rebuilt"
        self.final = self.root / "final"
        self.old = self.root / "old"
        self.log = self.root / "log.jsonl"
        self.leases = self.root / "leases"

    def prepare(self, alone: bool = True) -> None:
        """Create the folders.

        Args:
            alone: no other process works here: remove unfinished shards of killed ones.
        """
        if alone:
            shutil.rmtree(self.staging, ignore_errors=True)
        for folder in (self.staging, self.shards):
            folder.mkdir(parents=True, exist_ok=True)

    def has_work(self) -> bool:
        """Whether there is any work that another attempt could continue."""
        copies = (self.source, self.source.with_name("source.partial"))
        return (
            self.final.is_dir()
            or any(copy.is_dir() for copy in copies)
            or (self.shards.is_dir() and any(self.shards.iterdir()))
        )

    def is_committed(self, number: int) -> bool:
        """Whether a shard is committed, here or in a finished OUT.

        Another process may finish at the same time: the folder of the shard is removed last.
        """
        is_here = (self.shards / shard_name(number)).is_dir()
        return is_here or any((each / part_name(number)).is_file() for each in self._finished())

    def list_committed(self) -> set[int]:
        """Numbers of all committed shards, from one listing of each folder."""
        found = {int(name) for name in _list_names(self.shards) if name.isdecimal()}
        for folder in self._finished():
            found.update(n for n in map(part_number, _list_names(folder)) if n is not None)
        return found

    def _finished(self) -> list[Path]:
        """Folder of the parts that a process has moved to OUT; none while OUT is updated."""
        return [] if self.updates else [self.out / MANIFEST / RECORDS_FOLDER]

    def notes_of_container(self, number: int) -> Path:
        """The notes about a rebuilt container, by its index in SOURCE."""
        return self.rebuilt / f"{number:05d}.jsonl"

    def note(self, **facts: Any) -> None:
        """Add a line to the log."""
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(facts, sort_keys=True, ensure_ascii=False) + "\n")

    def clear(self) -> None:
        """Remove all work but the leases and a downloaded dataset."""
        for path in self.root.iterdir():
            if path == self.leases or path.name.startswith(self.source.name):
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def matches(self, recipe: Options, plan: Plan) -> bool:
        """Whether the noted state is that of a run with this recipe and plan."""
        try:
            return bool(load_json(self.state) == _state(recipe, plan))
        except (OSError, ValueError, DataError):
            return False

    def settle(self, recipe: Options, plan: Plan) -> bool:
        """Note the state of a new run, or check that an interrupted one can be continued.

        Returns:
            Whether there was an interrupted run.

        Raises:
            UsageError: if it had another recipe.
            DataError: if it had other versions of libraries.
            SourceChangedError: if SOURCE has changed since.
        """
        now = _state(recipe, plan)
        try:
            before = load_json(self.state)
        except FileNotFoundError:
            save_json(now, self.state)
            return False
        except (OSError, ValueError, DataError):
            before = None
        if not _is_state(before):
            raise DataError(f"{self.state} is damaged; remove {self.name} and run again")
        if before["recipe_sha256"] != recipe.digest:
            raise UsageError(describe_recipe_clash(self.name, before["recipe"], recipe))
        if before["libraries"] != now["libraries"]:
            changed = describe_changes(before["libraries"], now["libraries"])
            raise DataError(
                f"the interrupted run in {self.name} used other libraries ({changed}); "
                "install those again, or choose another OUT"
            )
        if before["plan_sha256"] != plan.sha256:
            raise SourceChangedError(
                f"SOURCE has changed since the run in {self.name} was interrupted; "
                "put it back as it was, or choose another OUT"
            )
        return True


def _parse_line(line: bytes) -> tuple[ImageRecord, str]:
    name, uri, split, category, stamp = json.loads(line)
    return ImageRecord(id=name, uri=uri, split=split, category=category), stamp


def _list_names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - names only, of many
    except (FileNotFoundError, NotADirectoryError):
        return []


def _state(recipe: Options, plan: Plan) -> dict[str, Any]:
    return {
        "recipe": recipe.to_dict(),
        "recipe_sha256": recipe.digest,
        "libraries": libraries(),
        "plan_sha256": plan.sha256,
    }


def _is_state(value: Any) -> bool:
    kinds = {"recipe": dict, "recipe_sha256": str, "libraries": dict, "plan_sha256": str}
    return isinstance(value, dict) and all(
        isinstance(value.get(key), kind) for key, kind in kinds.items()
    )


def save_plan(source: Source, path: Path) -> Plan:
    """Write the list of a dataset's images.

    Raises:
        DataError: if it has none.
    """
    digest = hashlib.sha256()
    images = 0
    with path.open("w", encoding="ascii") as file:
        for record in source.records():
            stamp = source.stamp(record)
            line = json.dumps([record.id, record.uri, record.split, record.category, stamp])
            digest.update(line.encode() + b"\n")
            file.write(line + "\n")
            images += 1
    if images == 0:
        raise DataError(explain_no_images(source))
    return Plan(path, images, digest.hexdigest())


def load_plan(path: Path) -> Plan | None:
    """Load the list that another process has written, or None if there is none yet."""
    digest = hashlib.sha256()
    images = 0
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
                images += block.count(b"\n")
    except FileNotFoundError:
        return None
    return Plan(path, images, digest.hexdigest())


def check_containers(source: Source, plan: Plan) -> None:
    """Check that the containers of a dataset have not changed since they were listed.

    Records of one container are consecutive, so each is checked once.

    Raises:
        SourceChangedError: if one of them has changed.
    """
    last = None
    for record, stamp in plan.stamped():
        if stamp == last:
            continue
        last = stamp
        if source.stamp(record) != stamp:
            raise SourceChangedError(
                f"{record.id!r} has changed in SOURCE since the run began; put it back as it was "
                "and choose another OUT"
            )


def libraries() -> dict[str, str]:
    """Return the versions of libraries that can change an output; imports none."""
    found = {"curate-dataset": curate.__version__}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def check_paths(source: str | Path | None, out: str | Path) -> None:
    """Refuse paths with which a run would read its own output or write to SOURCE.

    Args:
        source: a path, a URI or ``hf:NAME``; None if nothing is read from files.
        out: the output folder.

    Raises:
        UsageError: if one is inside the other, or OUT is remote or has other content.
    """
    check_local(out, "OUT")
    b = Path(out).resolve()
    if source is not None and not is_address(str(source)) and not is_hub_uri(str(source)):
        _check_apart(Path(source).resolve(), b)
    above = next(path for path in (b, *b.parents) if path.exists())
    if not above.is_dir():
        raise UsageError(f"OUT {str(out)!r} is a file or inside one; choose another path")
    if b.is_dir() and not is_ours(b) and any(b.iterdir()):
        raise UsageError(
            f"OUT {str(out)!r} is not empty and was not made by curate; choose a new folder"
        )


def check_local(path: str | Path, name: str) -> None:
    """Refuse a URI for a path that must be local; raises `UsageError`."""
    if is_address(str(path)):
        raise UsageError(f"{name} must be a local path; only SOURCE can be a URI")


def _check_apart(source: Path, out: Path) -> None:
    if source == out or out.is_relative_to(source):
        raise UsageError(f"OUT {str(out)!r} is inside SOURCE; choose another path")
    if source.is_relative_to(out):
        raise UsageError(f"SOURCE {str(source)!r} is inside OUT; choose another OUT")


def is_ours(out: Path) -> bool:
    """Whether a folder is the output of a run, finished or interrupted."""
    names = ("run.json", "balance.json")
    return (out / WORK).is_dir() or any((out / "manifest" / name).is_file() for name in names)
