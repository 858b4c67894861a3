"""Do a recorded run again, and say what came out otherwise."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from curate import codec
from curate.core.entries import ManifestEntry, Outcome
from curate.core.errors import UsageError, WithheldError
from curate.core.protocols import Source
from curate.core.records import ImageRecord
from curate.layouts import open_source
from curate.manifest import store
from curate.manifest.joining import join_by_id
from curate.pipeline.blur import obfuscate_source
from curate.pipeline.outputs import open_outputs
from curate.pipeline.session import Session
from curate.pipeline.tools import codec_options
from curate.pipeline.workspace import describe_changes
from curate.recipe import Recipe

BYTES, PIXELS, WITHHELD, DIFFERENT = (
    "byte_identical", "pixel_identical", "withheld_again", "different",
)  # fmt: skip
"""How an image came out: the file is the same; another file that shows the same;
withheld both times; or anything else."""

_SHOWN = 1000


@dataclass(frozen=True, slots=True)
class Difference:
    """An image that did not come out byte for byte.

    Args:
        id: which image.
        kind: ``pixel_identical`` or ``different``.
        detail: one line for a person.
    """

    id: str
    kind: str
    detail: str


@dataclass(frozen=True, slots=True)
class Replay:
    """How a recorded run came out when it was done again.

    Args:
        out: the new output folder.
        images: how many images were compared.
        counts: how many came out in each way.
        records_identical: whether the manifest's records are the same to the byte.
        changed: libraries and methods whose versions differ, in one line; empty if none.
        differences: the first of those that did not come out byte for byte.
    """

    out: str
    images: int
    counts: Mapping[str, int]
    records_identical: bool
    changed: str
    differences: tuple[Difference, ...]


def replay(
    source: str | Path,
    manifest: str | Path,
    out: str | Path,
    session: Session | None = None,
    sample: int | None = None,
) -> Replay:
    """Do a recorded run again with its own recipe and faces, and compare.

    No detector runs. The sealed manifest is all that is needed beside SOURCE:
    outputs are compared by the digests of their bytes and of their pixels.

    Args:
        source: the dataset that was obfuscated; only read.
        manifest: the manifest's folder, or the OUT that holds it.
        out: a new output folder.
        session: how to run.
        sample: how many images, drawn by the recipe's seed; None for all.

    Raises:
        ManifestError: if the manifest cannot be read.
        UsageError: if places overlap or OUT holds another run.
        DataError: if SOURCE cannot be used.
        SetupError: if the environment lacks something, disk space included.
    """
    if sample is not None and sample < 1:
        raise UsageError(f"a sample of {sample} images is none; give 1 or more")
    recorded = _find_manifest(Path(manifest))
    facts = store.load_run(recorded)
    recipe = Recipe.from_dict(facts["recipe"])
    opened = open_source(str(source), facts["source"]["layout"])
    if sample is not None:
        opened = _Sample(opened, sample, recipe.seed)
    session = replace(session or Session(), replayed=recorded)
    summary = obfuscate_source(opened, out, recipe, session)
    again = Path(summary.out)
    return _compare(recorded, facts, again, opened, sample is not None)


def _find_manifest(place: Path) -> Path:
    inside = place / "manifest"
    return (inside if (inside / store.RUN).is_file() else place).resolve()


class _Sample:
    """A dataset of which only some images are asked for, and nothing beside them.

    Args:
        source: the whole dataset.
        count: how many images.
        seed: seed of the draw; an image's place in it follows from its id alone.
    """

    def __init__(self, source: Source, count: int, seed: int) -> None:
        self._source = source
        drawn = heapq.nsmallest(count, source.records(), key=lambda record: _draw(record, seed))
        self._records = sorted(drawn, key=lambda record: record.id.encode())
        self.layout, self.uri = source.layout, source.uri
        self.check, self.find, self.read = source.check, source.find, source.read
        self.stamp, self.size = source.stamp, source.size

    def records(self) -> Iterator[ImageRecord]:
        return iter(self._records)


def _draw(record: ImageRecord, seed: int) -> bytes:
    return hashlib.sha256(f"{seed} {record.id}".encode()).digest()


def _compare(
    recorded: Path, facts: Mapping[str, Any], again: Path, source: Source, sampled: bool
) -> Replay:
    """Compare the manifests of both runs, and pixels where they do not decide."""
    now = store.load_run(again / "manifest")
    judge = _Judge(source, again, now)
    counts: Counter[str] = Counter()
    shown: list[Difference] = []
    for before, after in _iter_pairs(recorded, again / "manifest", sampled):
        kind, detail = judge.judge(before, after)
        counts[kind] += 1
        if kind in (PIXELS, DIFFERENT) and len(shown) < _SHOWN:
            entry = before or after
            assert entry is not None  # noqa: S101 - narrows the type
            shown.append(Difference(entry.id, kind, detail))
    return Replay(
        out=str(again),
        images=counts.total(),
        counts={kind: counts[kind] for kind in (BYTES, PIXELS, WITHHELD, DIFFERENT)},
        records_identical=_digest(recorded) == _digest(again / "manifest"),
        changed=describe_changes(_versions(facts), _versions(now)),
        differences=tuple(shown),
    )


def _digest(manifest: Path) -> str:
    return store.digest_parts(manifest / store.RECORDS_FOLDER)


def _versions(run: Mapping[str, Any]) -> dict[str, str]:
    method = run["obfuscator"]
    return {**run["libraries"], f"method {method['name']}": method["version"]}


def _iter_pairs(
    recorded: Path, again: Path, sampled: bool
) -> Iterator[tuple[ManifestEntry | None, ManifestEntry | None]]:
    """Entries of both runs by id; of a sample only those that were done again."""
    pairs = join_by_id(
        store.iter_entries(recorded / store.RECORDS_FOLDER),
        store.iter_entries(again / store.RECORDS_FOLDER),
    )
    return ((old, new) for old, new in pairs if new is not None or not sampled)


class _Judge:
    """Tells how one image came out.

    Args:
        source: the dataset.
        again: the new output folder.
        run: the content of its ``run.json``.
    """

    def __init__(self, source: Source, again: Path, run: Mapping[str, Any]) -> None:
        self._source = source
        self._options = codec_options(Recipe.from_dict(run["recipe"]))
        layout, in_containers = run["source"]["layout"], run["others"]["rebuilt"] > 0
        self._read = open_outputs(again, layout, in_containers)

    def judge(self, before: ManifestEntry | None, after: ManifestEntry | None) -> tuple[str, str]:
        """How an image came out, and why in one line."""
        if after is None:
            return DIFFERENT, "is not in SOURCE"
        if before is None:
            return DIFFERENT, "is not in the manifest"
        if before.source_sha256 != after.source_sha256:
            return DIFFERENT, "SOURCE has another file under this name"
        if before.outcome is not after.outcome:
            was = f"{before.outcome.value}{f' ({before.reason})' if before.reason else ''}"
            now = f"{after.outcome.value}{f' ({after.reason})' if after.reason else ''}"
            return DIFFERENT, f"was {was}, is {now}"
        if before.outcome is Outcome.WITHHELD:
            return WITHHELD, ""
        if before.output_sha256 == after.output_sha256:
            return BYTES, ""
        if before.pixels_sha256 is not None and before.pixels_sha256 == after.pixels_sha256:
            return PIXELS, "another file that shows the same"
        if before.pixels_sha256 is None and self._shows_source(after):
            return PIXELS, "another file that shows what SOURCE shows, as the recorded one did"
        return DIFFERENT, "its pixels are others"

    def _shows_source(self, entry: ManifestEntry) -> bool:
        """Whether an output shows the same as its source."""
        record = self._source.find(entry.source_path)
        if record is None:
            return False
        try:
            source = codec.load(self._source.read(record), self._options)
            output = codec.load(self._read(str(entry.output_path)), self._options)
        except (WithheldError, OSError):
            return False
        return codec.digest_pixels(source) == codec.digest_pixels(output)
