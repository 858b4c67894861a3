"""The work folder inside OUT: what an interrupted run leaves and a later one takes up.

::

    OUT/.curate/lock              held while a run writes
    OUT/.curate/state.json        recipe, libraries and plan of the run
    OUT/.curate/plan.jsonl        the records, in order, as SOURCE was at the start
    OUT/.curate/faces.sqlite      given faces
    OUT/.curate/models.json       the models that detected
    OUT/.curate/source/           a dataset of the Hub, as Parquet; source.json says which
    OUT/.curate/staging/          shards in work
    OUT/.curate/shards/NNNNN/     shards committed
    OUT/.curate/members/          images that wait for their containers to be rebuilt
    OUT/.curate/rebuilt/          what stayed behind of each rebuilt container
    OUT/.curate/final/            data/ and manifest/, gathered before they are shown
    OUT/.curate/log.jsonl         clock times and host facts
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import curate
from curate.core.errors import DataError, SourceChangedError, UsageError
from curate.core.protocols import Source
from curate.core.records import ImageRecord
from curate.engine.shards import shard_name
from curate.layouts.access.address import is_address, is_hub_place
from curate.manifest.store import part_name, save_json
from curate.recipe import Options

WORK = ".curate"
_LIBRARIES = (
    "numpy", "opencv-python", "opencv-python-headless", "pillow", "jpeglib", "pyarrow", "torch",
    "onnxruntime",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will go through.

    Args:
        path: the list of records.
        images: how many there are.
        sha256: digest of ids, sizes and times of change.
    """

    path: Path
    images: int
    sha256: str

    def records(self) -> Iterator[ImageRecord]:
        """The records, streaming, in the source's order."""
        return (record for record, _ in self.stamped())

    def stamped(self) -> Iterator[tuple[ImageRecord, str]]:
        """The records with the stamps that they had."""
        with self.path.open(encoding="ascii") as file:
            for line in file:
                name, uri, split, category, stamp = json.loads(line)
                yield ImageRecord(id=name, uri=uri, split=split, category=category), stamp


class Workspace:
    """Paths and state of one run's work folder.

    Args:
        out: the output.
        root: the work folder; None for its usual place inside the output folder.
    """

    def __init__(self, out: Path, root: Path | None = None) -> None:
        self.out = out
        self.root = root or out / WORK
        self.state = self.root / "state.json"
        self.plan = self.root / "plan.jsonl"
        self.faces = self.root / "faces.sqlite"
        self.models = self.root / "models.json"
        self.source = self.root / "source"
        self.staging = self.root / "staging"
        self.shards = self.root / "shards"
        self.members = self.root / "members"
        self.rebuilt = self.root / "rebuilt"
        self.final = self.root / "final"
        self.log = self.root / "log.jsonl"
        self.lock = self.root / "lock"

    def prepare(self) -> None:
        """Make the folders, and drop what a killed run left half done."""
        shutil.rmtree(self.staging, ignore_errors=True)
        for folder in (self.staging, self.shards):
            folder.mkdir(parents=True, exist_ok=True)

    def has_work(self) -> bool:
        """Whether there is anything here that another attempt could take up."""
        copies = (self.source, self.source.with_name("source.partial"))
        return (
            self.final.is_dir()
            or any(copy.is_dir() for copy in copies)
            or (self.shards.is_dir() and any(self.shards.iterdir()))
        )

    def is_committed(self, number: int) -> bool:
        """Whether a shard's work is done, gathered or not."""
        name = shard_name(number)
        gathered = self.final / "manifest" / "records" / part_name(number)
        return (self.shards / name).is_dir() or gathered.is_file()

    def note(self, **facts: Any) -> None:
        """Add a line to the log."""
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(facts, sort_keys=True, ensure_ascii=False) + "\n")

    def settle(self, recipe: Options, plan: Plan) -> bool:
        """Begin a run, or make sure that an interrupted one can be continued.

        Returns:
            Whether there was an interrupted run.

        Raises:
            UsageError: if its recipe was another.
            DataError: if its libraries were others.
            SourceChangedError: if SOURCE has changed since.
        """
        now: dict[str, Any] = {
            "recipe": recipe.to_dict(),
            "recipe_sha256": recipe.digest,
            "libraries": libraries(),
            "plan_sha256": plan.sha256,
        }
        try:
            before = json.loads(self.state.read_text(encoding="utf-8"))
        except FileNotFoundError:
            save_json(now, self.state)
            return False
        except ValueError:
            before = None
        if not _is_state(before):
            raise DataError(f"{self.state} is damaged; remove {self.out} and run again")
        if before["recipe_sha256"] != recipe.digest:
            raise UsageError(describe_recipe_clash(self.out, before["recipe"], recipe))
        if before["libraries"] != now["libraries"]:
            changed = describe_changes(before["libraries"], now["libraries"])
            raise DataError(
                f"the interrupted run in {self.out} used other libraries ({changed}); "
                "install those again, or choose another OUT"
            )
        if before["plan_sha256"] != plan.sha256:
            raise SourceChangedError(
                f"SOURCE has changed since the run in {self.out} was interrupted; "
                "put it back as it was, or choose another OUT"
            )
        return True


def _is_state(value: Any) -> bool:
    kinds = {"recipe": dict, "recipe_sha256": str, "libraries": dict, "plan_sha256": str}
    return isinstance(value, dict) and all(
        isinstance(value.get(key), kind) for key, kind in kinds.items()
    )


def describe_changes(before: dict[str, str], now: dict[str, str]) -> str:
    """How the versions of libraries differ, in one line."""
    return ", ".join(
        f"{name} {before.get(name, 'absent')} → {now.get(name, 'absent')}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    )


def describe_recipe_clash(out: Path, before: dict[str, Any], now: Options) -> str:
    """One line that says how a recipe differs from the one an OUT was begun with."""
    wanted = now.to_dict()
    keys = [key for key in wanted if wanted[key] != before.get(key)]
    changes = ", ".join(f"{key} {before.get(key)!r} → {wanted[key]!r}" for key in keys)
    digest = hashlib.sha256(
        json.dumps(before, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    ).hexdigest()
    return (
        f"{out} was begun with another recipe ({changes}; {digest[:12]} → {now.digest[:12]}); "
        "use the same options, or choose another OUT"
    )


def save_plan(source: Source, path: Path) -> Plan:
    """List a dataset's images as they are now.

    Raises:
        DataError: if there is none.
    """
    digest = hashlib.sha256()
    images = 0
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="ascii") as file:
        for record in source.records():
            stamp = source.stamp(record)
            line = json.dumps([record.id, record.uri, record.split, record.category, stamp])
            digest.update(line.encode() + b"\n")
            file.write(line + "\n")
            images += 1
    partial.replace(path)
    if images == 0:
        raise DataError("there is no image in SOURCE")
    return Plan(path, images, digest.hexdigest())


def check_containers(source: Source, plan: Plan) -> None:
    """Make sure that the files that hold several images are those that were listed.

    Their stamps are asked for once a file: records of one file stand together.

    Raises:
        SourceChangedError: if one of them is another now.
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
    """Versions of the libraries that can change an output; nothing is imported."""
    found = {"curate-dataset": curate.__version__}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def check_places(source: str | Path, out: str | Path) -> None:
    """Refuse places that would let a run read its own output or write to SOURCE.

    Args:
        source: a path, an address or a place on the Hub.
        out: the output folder.

    Raises:
        UsageError: if one lies inside the other, or OUT is remote or holds something else.
    """
    check_local(out, "OUT")
    b = Path(out).resolve()
    if not is_address(str(source)) and not is_hub_place(str(source)):
        _check_apart(Path(source).resolve(), b)
    above = next(place for place in (b, *b.parents) if place.exists())
    if not above.is_dir():
        raise UsageError(f"OUT {str(out)!r} is or lies under a file; choose another name")
    if b.is_dir() and not is_ours(b) and any(b.iterdir()):
        raise UsageError(
            f"OUT {str(out)!r} is not empty and was not made by curate; choose a new folder"
        )


def check_local(place: str | Path, name: str) -> None:
    """Refuse an address where only a path on this machine can be.

    Raises:
        UsageError: if it is one.
    """
    if is_address(str(place)):
        raise UsageError(f"{name} is not on a local disk; only SOURCE can be remote")


def _check_apart(source: Path, out: Path) -> None:
    if source == out or out.is_relative_to(source):
        raise UsageError(f"OUT {str(out)!r} lies inside SOURCE; choose another place for it")
    if source.is_relative_to(out):
        raise UsageError(f"SOURCE {str(source)!r} lies inside OUT; choose another OUT")


def is_ours(out: Path) -> bool:
    """Whether a folder holds a run, finished or interrupted."""
    names = ("run.json", "balance.json")
    return (out / WORK).is_dir() or any((out / "manifest" / name).is_file() for name in names)
