"""The output of a finished run: its summary, and its images by path."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.core.entries import ManifestEntry
from curate.core.errors import DataError, SourceChangedError, UsageError
from curate.core.protocols import Source
from curate.core.records import ImageRecord, join_lines
from curate.layouts.sidecars.content import describe_drop_keys
from curate.manifest import store
from curate.manifest.others import iter_others
from curate.manifest.store import DATA
from curate.pipeline.output_images import has_output
from curate.pipeline.recipe_changes import describe_recipe_clash
from curate.pipeline.session import Done, Session
from curate.pipeline.sidecar_summary import (
    LISTS_WITHHELD,
    describe_include,
    describe_others,
    find_left_out,
    may_list_withheld,
)
from curate.recipe import Recipe
from curate.report.document import Printable

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, repr=False)
class Summary(Printable):
    """The result of `blur`: how many images were written, and why others were not.

    Args:
        out: the output folder.
        images: images in SOURCE; each is either written or withheld.
        written: images in the output.
        withheld: images that could not be processed to the end, and are not in the output.
        images_with_faces: written images with at least one face.
        faces: faces hidden.
        routes: written images by the way their other pixels were kept: ``copied``,
            ``spliced``, ``lossless`` or ``reencoded``.
        reasons: withheld images by the code of the reason.
        others: other files by outcome; ``included`` are among ``carried``; ``withheld``, maps
            that may show a face, among ``left_out``.
        left_out: the first files that were left out, by name.
        hints: what can be done about files that were left out, one line each.
        content: what annotations contain that can identify people (``found``, by file, kind and
            key), and values that were left out (``dropped``, by file and key).
        seconds: wall time of this attempt.
        images_now: images processed in this attempt.
        already_done: the output was finished before; nothing was done.
        recipe_sha256: digest of the recipe.
        records_sha256: digest of the manifest's records.
        outdated: files in OUT, such as a dataset card, that are of the output before an update.
    """

    out: str
    images: int
    written: int
    withheld: int
    images_with_faces: int
    faces: int
    routes: dict[str, int]
    reasons: dict[str, int]
    others: dict[str, int]
    left_out: tuple[str, ...]
    hints: tuple[str, ...]
    content: dict[str, Any]
    seconds: float
    images_now: int
    already_done: bool
    recipe_sha256: str
    records_sha256: str
    outdated: tuple[str, ...] = ()

    @property
    def is_incomplete(self) -> bool:
        """Whether images or label maps were withheld."""
        return bool(self.withheld or self.others.get("withheld"))

    def to_text(self) -> str:
        """The summary for the terminal, at most 80 columns but for long paths."""
        lines = []
        if self.already_done:
            lines.append(f"{self.out} was finished before; nothing was done.")
        lines += [
            f"{self.images:,} images: {self.written:,} written, {self.withheld:,} withheld.",
            f"{self.faces:,} faces hidden in {self.images_with_faces:,} images.",
        ]
        for code, count in self.reasons.items():
            lines.append(f"  withheld {count:,}: {code}")
        if maps := self.others.get("withheld"):
            lines.append(f"  withheld {maps:,}: label maps that may show a face")
        if self.is_incomplete:
            shown = f"curate manifest show {shlex.quote(self.out)} --withheld"
            lines.append(f"  each with its reason: {shown}")
        lines += describe_others(self.others, self.left_out, self.hints, self.content, store.RUN)
        if self.images_now:
            rate = self.images_now / max(self.seconds, 1e-9)
            lines.append(f"{self.seconds:,.1f} s, {rate:,.1f} images/s.")
        out = shlex.quote(self.out)
        steps = [f"curate verify {out}"]
        if self.outdated:
            names = ", ".join(self.outdated)
            lines.append(f"Of the output before the update, to be made again: {names}.")
            if CARD in self.outdated:
                steps.insert(0, f"curate card {out}")
            if f"{store.MANIFEST}/{store.SIGNATURE}" in self.outdated:
                steps.insert(-1, f"curate manifest checksum {out} --sign KEY")
        lines.append(f"Next: {', then '.join(steps)}")
        return join_lines(lines)

    def to_frame(self) -> pd.DataFrame:
        """The manifest's records as a table, a row per image; needs memory for all of them."""
        from curate.manifest.show import load_manifest

        return load_manifest(self.out).to_frame()

    def __repr__(self) -> str:
        return (
            f"<Summary of {self.out!r}: {self.written:,} written, {self.withheld:,} withheld, "
            f"{self.faces:,} faces hidden>"
        )


@dataclass(frozen=True, slots=True, repr=False)
class ShardsSummary(Printable):
    """The result of `blur_shards` and `detect_shards`: what one of several processes has done.

    Args:
        out: the output folder.
        index: which of the processes, from 1.
        processes: number of processes.
        shards: shards of this process; all are committed.
        images: images in them.
        withheld: images in them that could not be processed to the end; those of the whole
            output if it was finished before.
        images_now: images that this process has processed itself.
        total_shards: shards of all processes; 0 if the output was finished before.
        already_done: the output was finished before; nothing was done.
        withheld_maps: label maps that an output that was finished before has withheld.
    """

    out: str
    index: int
    processes: int
    shards: int
    images: int
    withheld: int
    images_now: int
    total_shards: int = 0
    already_done: bool = False
    withheld_maps: int = 0

    @property
    def is_incomplete(self) -> bool:
        """Whether images or label maps were withheld."""
        return bool(self.withheld or self.withheld_maps)

    def to_text(self) -> str:
        """The summary for the terminal, at most 80 columns but for long paths."""
        if self.already_done:
            found = {"images": self.withheld, "label maps": self.withheld_maps}
            withheld = (f" Withheld {what}: {count:,}." for what, count in found.items() if count)
            return f"{self.out} was finished before; nothing was done.{''.join(withheld)}"
        if not self.shards:
            parts = (
                "only 1 shard" if self.total_shards == 1 else f"only {self.total_shards:,} shards"
            )
            return (
                f"Shards {self.index}/{self.processes}: there is nothing to do; the dataset has "
                f"{parts}.\n"
                "Next, when every process is done: the same command with --finish instead of "
                "--shards"
            )
        return (
            f"Shards {self.index}/{self.processes}: {self.images:,} images in {self.shards:,} "
            f"shards, {self.withheld:,} withheld.\n"
            "Next, when every process is done: the same command with --finish instead of --shards"
        )

    def __repr__(self) -> str:
        return (
            f"<ShardsSummary of {self.out!r}, {self.index}/{self.processes}: {self.images:,} "
            f"images in {self.shards:,} shards, {self.withheld:,} withheld>"
        )


def summarize_shards(
    out: str | Path,
    session: Session,
    done: Done | None,
    finished: Mapping[str, Any] | None = None,
    others: Mapping[str, int] | None = None,
) -> ShardsSummary:
    """Summarize what one of several processes has done.

    Args:
        out: the output.
        session: its session, which has the shards.
        done: what it did, or None if the output was finished before.
        finished: counts of images of an output that was finished before.
        others: its counts of other files.
    """
    index, processes = session.shards or (1, 1)
    counts = done.counts if done is not None else {"withheld": (finished or {}).get("withheld", 0)}
    return ShardsSummary(
        out=str(out),
        index=index,
        processes=processes,
        shards=done.shards if done is not None else 0,
        images=counts.get("images", 0),
        withheld=counts.get("withheld", 0),
        images_now=done.now if done is not None else 0,
        total_shards=done.total if done is not None else 0,
        already_done=done is None,
        withheld_maps=(others or {}).get("withheld", 0),
    )


def summarize(
    out: Path, run: dict[str, Any], seconds: float, images_now: int, already_done: bool = False
) -> Summary:
    """Summarize a finished run.

    Args:
        out: the output folder.
        run: the content of its ``run.json``.
        seconds: wall time of this attempt.
        images_now: images processed in this attempt.
        already_done: whether the output was finished before.
    """
    listed = iter_others(out / store.MANIFEST)
    left_out, hints = find_left_out((each.path, each.reason) for each in listed)
    content = run.get("content", {"found": {}, "dropped": {}})
    drop_keys = run["recipe"].get("drop_keys")
    return Summary(
        out=str(out),
        **run["counts"],
        others={name: run["others"].get(name, 0) for name in _OTHERS},
        left_out=left_out,
        hints=(
            *hints,
            *([LISTS_WITHHELD] if may_list_withheld(run) else []),
            *describe_include(run["recipe"].get("include", ()), out, content),
            *describe_drop_keys(drop_keys, content),
        ),
        content=content,
        seconds=round(seconds, 3),
        images_now=images_now,
        already_done=already_done,
        recipe_sha256=run["recipe_sha256"],
        records_sha256=run["records"]["sha256"],
    )


CARD = "README.md"
"""The dataset card, beside the folders of the output."""
_OTHERS = ("carried", "included", "rebuilt", "left_out", "withheld")


def load_summary(out: Path, source: Source | None, recipe: Recipe) -> Summary:
    """Load the summary of an output that was finished before, if a run would give the same.

    Names and sizes are compared, not contents; ``curate verify`` compares those.

    Args:
        out: the finished output.
        source: the dataset, or None if it is not available to compare with.
        recipe: what a run would do.

    Raises:
        UsageError: if the output has another recipe.
        SourceChangedError: if SOURCE has other images than it had.
        DataError: if an output file is missing or has another size.
    """
    manifest = out / store.MANIFEST
    run = store.load_run(manifest)
    if run["recipe_sha256"] != recipe.digest:
        raise UsageError(describe_recipe_clash(out, run["recipe"], recipe, updates=True))
    entries = store.iter_entries(manifest / store.RECORDS_FOLDER)
    for entry in entries if source is None else _iter_unchanged(entries, source, out):
        if entry.output_path is not None and not has_output(out, entry):
            raise DataError(
                f"{out} was finished, but {DATA}/{entry.output_path} has changed since; "
                "run `curate verify`, or choose another OUT"
            )
    return summarize(out, run, 0.0, 0, already_done=True)


def _iter_unchanged(
    entries: Iterator[ManifestEntry], source: Source, out: Path
) -> Iterator[ManifestEntry]:
    """The entries, as long as SOURCE has the same images."""
    for entry, record in zip_longest(entries, source.records()):
        if _differ(entry, record, source):
            raise SourceChangedError(
                f"{out} is finished, but SOURCE has changed since "
                f"(first at {(record or entry).id!r}); choose another OUT"
            )
        yield entry


def _differ(entry: ManifestEntry | None, record: ImageRecord | None, source: Source) -> bool:
    if entry is None or record is None or entry.id != record.id:
        return True
    size = source.size(record)
    return entry.source_bytes is not None and size is not None and size != entry.source_bytes
