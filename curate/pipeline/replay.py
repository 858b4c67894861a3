"""Repeat a recorded run and compare the outputs."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate import codec
from curate.core.arguments import checked
from curate.core.entries import ManifestEntry, Outcome
from curate.core.errors import UsageError, WithheldError
from curate.core.protocols import Source
from curate.core.records import ImageRecord, join_lines
from curate.layouts import open_source
from curate.layouts.access.address import is_address
from curate.manifest import store
from curate.manifest.store import join_by_id
from curate.pipeline.blur import obfuscate_source
from curate.pipeline.object_output import fetched
from curate.pipeline.output_images import open_outputs
from curate.pipeline.progress import show_progress
from curate.pipeline.recipe_changes import describe_changes
from curate.pipeline.session import Session
from curate.pipeline.tools import codec_options, load_recipe
from curate.recipe import draw_order
from curate.report.document import Printable

if TYPE_CHECKING:
    import pandas as pd

BYTES, PIXELS, WITHHELD, DIFFERENT = (
    "byte_identical", "pixel_identical", "withheld_again", "different",
)  # fmt: skip
"""Results for an image: the same file; another file with the same pixels; withheld both
times; anything else."""

_SHOWN = 1000


_WORDS = {
    "byte_identical": "byte-identical",
    "pixel_identical": "pixel-identical",
    "withheld_again": "withheld again",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """An image that is not byte-identical.

    Args:
        id: which image.
        kind: ``pixel_identical`` or ``different``.
        detail: the reason, in one line.
    """

    id: str
    kind: str
    detail: str


@dataclass(frozen=True, slots=True, repr=False)
class Replay(Printable):
    """The comparison of a recorded run with its repetition.

    Args:
        out: the new output folder.
        images: number of images compared.
        counts: images by result.
        records_identical: whether the compared images have equal records in both manifests.
        changed: libraries and methods with different versions, in one line; empty if none.
        differences: the first images that are not byte-identical.
    """

    out: str
    images: int
    counts: Mapping[str, int]
    records_identical: bool
    changed: str
    differences: tuple[Difference, ...]

    @property
    def ok(self) -> bool:
        """Whether no image is different."""
        return not self.counts[DIFFERENT]

    def to_text(self) -> str:
        """The comparison, for the terminal."""
        results = ", ".join(
            f"{count:,} {_WORDS.get(kind, kind)}" for kind, count in self.counts.items() if count
        )
        lines = [f"{self.images:,} images: {results}."]
        if self.records_identical:
            lines.append("The records of both manifests are identical.")
        if self.changed:
            lines.append(f"Different versions: {self.changed}.")
        lines.append(f"The repeated run is in {self.out}.")
        return join_lines(lines)

    def to_frame(self) -> pd.DataFrame:
        """The differences as a table with the columns id, kind and detail."""
        import pandas as pd

        rows = [asdict(difference) for difference in self.differences]
        return pd.DataFrame(rows, columns=["id", "kind", "detail"])

    def __repr__(self) -> str:
        counts = ", ".join(f"{count:,} {kind}" for kind, count in self.counts.items() if count)
        return f"<Replay in {self.out!r}: {counts}>"


@checked
def replay(
    source: str | Path,
    manifest: str | Path,
    out: str | Path,
    session: Session | None = None,
    sample: int | None = None,
    *,
    quiet: bool = False,
    **options: Any,
) -> Replay:
    """Repeat a recorded run with its own recipe and faces, and compare the outputs.

    No detector runs. Only SOURCE and the sealed manifest are needed: outputs are compared
    by the digests of their bytes and of their pixels.

    >>> curate.replay("photos", "out", "again", sample=20).ok   # doctest: +SKIP
    True

    Args:
        source: path or URI of the dataset that was obfuscated; only read.
        manifest: path or URI of the recorded output, or of the folder of its manifest.
        out: a new output folder.
        session: how to run, or None for the defaults.
        sample: number of images, drawn with the recipe's seed, or None for all.
        quiet: show no progress and no messages.
        options: fields of `Session`, such as ``workers``; they override it.

    Raises:
        ManifestError: if the manifest cannot be read.
        UsageError: if paths overlap or OUT holds another run.
        DataError: if SOURCE cannot be used.
        SetupError: if the environment lacks something, disk space included.
    """
    if sample is not None and sample < 1:
        raise UsageError(f"sample cannot be {sample}; give 1 or more")
    if is_address(str(manifest)):
        with fetched(manifest, with_data=False) as copy:
            return replay(source, copy, out, session, sample, quiet=quiet, **options)
    recorded = store.find_manifest(Path(manifest)).resolve()
    facts = store.load_run(recorded)
    whole = recorded.parent if (recorded.parent / store.DATA).is_dir() else recorded
    target = None if is_address(str(out)) else Path(out).resolve()
    if target is not None and (target == recorded.parent or target.is_relative_to(whole)):
        where = "" if target in (recorded, recorded.parent) else "inside "
        raise UsageError(f"OUT {str(out)!r} is {where}the recorded output; choose a new folder")
    recipe = load_recipe(facts)
    opened = open_source(str(source), facts["source"]["layout"])
    if sample is not None:
        opened = _Sample(opened, sample, recipe.seed)
    session = replace(session or Session(), replayed=recorded, **options)
    with show_progress(session, quiet) as session:
        summary = obfuscate_source(opened, out, recipe, session)
    again = Path(summary.out)
    return _compare(recorded, facts, again, opened, sample is not None)


class _Sample:
    """A random sample of a dataset's images, without its other files.

    Args:
        source: the whole dataset.
        count: number of images.
        seed: random seed; whether an image is drawn depends on its id only.
    """

    def __init__(self, source: Source, count: int, seed: int) -> None:
        self._source = source
        drawn = heapq.nsmallest(
            count, source.records(), key=lambda record: draw_order(record.id, seed)
        )
        self._records = sorted(drawn, key=lambda record: record.id.encode())
        self.layout, self.uri = source.layout, source.uri
        self.follow_links = source.follow_links
        self.check, self.find, self.read = source.check, source.find, source.read
        self.stamp, self.size = source.stamp, source.size

    def records(self) -> Iterator[ImageRecord]:
        return iter(self._records)


def _compare(
    recorded: Path, facts: Mapping[str, Any], again: Path, source: Source, sampled: bool
) -> Replay:
    """Compare the manifests of both runs, and pixels where digests do not decide."""
    now = store.load_run(again / "manifest")
    comparer = _Comparer(source, again, now)
    counts: Counter[str] = Counter()
    shown: list[Difference] = []
    identical = True
    for before, after in _iter_pairs(recorded, again / "manifest", sampled):
        kind, detail = comparer.compare(before, after)
        counts[kind] += 1
        identical = identical and before == after
        if kind in (PIXELS, DIFFERENT) and len(shown) < _SHOWN:
            entry = before or after
            assert entry is not None  # noqa: S101 - narrows the type
            shown.append(Difference(entry.id, kind, detail))
    return Replay(
        out=str(again),
        images=counts.total(),
        counts={kind: counts[kind] for kind in (BYTES, PIXELS, WITHHELD, DIFFERENT)},
        records_identical=identical,
        changed=describe_changes(_versions(facts), _versions(now)),
        differences=tuple(shown),
    )


def _versions(run: Mapping[str, Any]) -> dict[str, str]:
    method = run["obfuscator"]
    return {**run["libraries"], f"method {method['name']}": method["version"]}


def _iter_pairs(
    recorded: Path, again: Path, sampled: bool
) -> Iterator[tuple[ManifestEntry | None, ManifestEntry | None]]:
    """Pair the entries of both runs by id; for a sample, only of the images in it."""
    pairs = join_by_id(
        store.iter_entries(recorded / store.RECORDS_FOLDER),
        store.iter_entries(again / store.RECORDS_FOLDER),
    )
    return ((old, new) for old, new in pairs if new is not None or not sampled)


class _Comparer:
    """Compares one image of both runs.

    Args:
        source: the dataset.
        again: the new output folder.
        run: the content of its ``run.json``.
    """

    def __init__(self, source: Source, again: Path, run: Mapping[str, Any]) -> None:
        self._source = source
        self._options = codec_options(load_recipe(run))
        layout, in_containers = run["source"]["layout"], run["others"]["rebuilt"] > 0
        self._read = open_outputs(again, layout, in_containers)

    def compare(self, before: ManifestEntry | None, after: ManifestEntry | None) -> tuple[str, str]:
        """Return the result for an image, and the reason in one line."""
        if after is None:
            return DIFFERENT, "is not in SOURCE"
        if before is None:
            return DIFFERENT, "is not in the manifest"
        if before.source_sha256 != after.source_sha256:
            return DIFFERENT, "SOURCE has another file of this name"
        if before.outcome is not after.outcome:
            was = f"{before.outcome.value}{f' ({before.reason})' if before.reason else ''}"
            now = f"{after.outcome.value}{f' ({after.reason})' if after.reason else ''}"
            return DIFFERENT, f"was {was}, is {now}"
        if before.outcome is Outcome.WITHHELD:
            return WITHHELD, ""
        if before.output_sha256 == after.output_sha256:
            return BYTES, ""
        if before.pixels_sha256 is not None and before.pixels_sha256 == after.pixels_sha256:
            return PIXELS, "another file with the same pixels"
        if before.pixels_sha256 is None and self._shows_source(after):
            return PIXELS, "another file with the pixels of SOURCE, as recorded"
        return DIFFERENT, "its pixels differ"

    def _shows_source(self, entry: ManifestEntry) -> bool:
        """Whether an output has the same pixels as its source."""
        record = self._source.find(entry.source_path)
        if record is None:
            return False
        try:
            source = codec.load(self._source.read(record), self._options)
            output = codec.load(self._read(str(entry.output_path)), self._options)
        except (WithheldError, OSError):
            return False
        return codec.digest_pixels(source) == codec.digest_pixels(output)
