"""The output of a finished run: its summary, and its images by path."""

from __future__ import annotations

import glob
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from curate.core.entries import ManifestEntry
from curate.core.errors import DataError, SourceChangedError, UsageError
from curate.core.protocols import Source
from curate.core.records import ImageRecord, escape_unprintable, join_lines
from curate.layouts.files import is_document_name
from curate.layouts.sidecars.content import IMAGE_NAMES, Content, describe_drop_keys
from curate.layouts.sidecars.values import matches_pattern
from curate.manifest import store
from curate.manifest.others import iter_others
from curate.manifest.store import DATA
from curate.pipeline.output_images import has_output
from curate.pipeline.session import Done, Session
from curate.pipeline.sidecars import WANTED
from curate.pipeline.workspace import describe_recipe_clash
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
        others: other files by outcome; ``included`` are among ``carried``, and ``withheld``, label
            maps that may show a face, among ``left_out``.
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
            if self.withheld and self.others["carried"]:
                lines.append("  annotation files that were copied may still list withheld images")
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
        already_done: the output was finished before; nothing was done.
    """

    out: str
    index: int
    processes: int
    shards: int
    images: int
    withheld: int
    images_now: int
    already_done: bool = False

    def to_text(self) -> str:
        """The summary for the terminal, at most 80 columns but for long paths."""
        if self.already_done:
            withheld = f" {self.withheld:,} images are withheld in it." if self.withheld else ""
            return f"{self.out} was finished before; nothing was done.{withheld}"
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
    out: str | Path, session: Session, done: Done | None, withheld: int = 0
) -> ShardsSummary:
    """Summarize what one of several processes has done.

    Args:
        out: the output.
        session: its session, which has the shards.
        done: what it did, or None if the output was finished before.
        withheld: images that an output that was finished before has withheld.
    """
    index, processes = session.shards or (1, 1)
    counts = done.counts if done is not None else {}
    return ShardsSummary(
        out=str(out),
        index=index,
        processes=processes,
        shards=done.shards if done is not None else 0,
        images=counts.get("images", 0),
        withheld=counts.get("withheld", withheld),
        images_now=done.now if done is not None else 0,
        already_done=done is None,
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
            *_describe_include(run["recipe"].get("include", ()), out, content),
            *describe_drop_keys(drop_keys, content),
        ),
        content=content,
        seconds=round(seconds, 3),
        images_now=images_now,
        already_done=already_done,
        recipe_sha256=run["recipe_sha256"],
        records_sha256=run["records"]["sha256"],
    )


def _describe_include(
    patterns: Sequence[str], out: Path, content: Mapping[str, Any]
) -> Iterator[str]:
    """Patterns of ``--include`` that no file matches, nor possibly a member of a tar file."""
    if not patterns or "unread" in {kind for kinds in content["found"].values() for kind in kinds}:
        return
    unused = set(patterns)
    for other in iter_others(out / store.MANIFEST):
        unused -= {each for each in unused if matches_pattern(other.path, each)}
    if unused:
        texts = ", ".join(map(repr, sorted(unused)))
        yield f"--include matches no file: {texts}; patterns are paths or names, such as '*.txt'"


CARD = "README.md"
"""The dataset card, beside the folders of the output."""
_OTHERS = ("carried", "included", "rebuilt", "left_out", "withheld")
_NAMED = 10
_SHOWN_KEYS = 6
_MAX_GROUPS = 1000
_FINAL = (
    *("an image outside", "its name ", "it cannot be read", "it is a link", "it is a file with"),
    *("it is an image", "it is longer", "it is neither a file", "the images of its sample"),
    *(
        "it contains images",
        "it has records of several lines",
        "it may contain images",
        "not an annotation",
        "a face was found",
        "no faces were searched",
    ),
)
"""Starts of the reasons of files that ``--include`` does not copy, or that are no annotations."""


def find_left_out(
    files: Iterable[tuple[str, str | None]],
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The first files that were left out, and hints on those that users often want.

    Args:
        files: path of each file, and the reason why it was left out, or None.
    """
    names: list[str] = []
    groups: dict[tuple[str, str], tuple[int, str]] = {}
    documents: list[str] = []
    for path, reason in files:
        if reason is None:
            continue
        if len(names) < _NAMED:
            names.append(path)
        if is_document_name(path) and " contains " in reason and len(documents) < _NAMED:
            documents.append(f"{reason}: --include {_quote_pattern(path)} copies it unread")
            continue
        key = (reason.replace(f"{path} ", "it "), PurePosixPath(path).suffix)
        if key in groups or len(groups) < _MAX_GROUPS:
            count, first = groups.get(key, (0, path))
            groups[key] = (count + 1, first)
    often = sorted(groups.items(), key=lambda item: (item[0][0] not in WANTED, item[0]))
    hints = (
        f"{count:,} × {reason}, such as {first}" + _describe_remedy(reason, suffix, first)
        for (reason, suffix), (count, first) in often[:_NAMED]
    )
    return tuple(names), (*documents, *hints)


def _describe_remedy(reason: str, suffix: str, path: str) -> str:
    """How files of a reason can be copied; empty if they cannot, or nobody wants to."""
    if reason.startswith(_FINAL):
        return ""
    pattern = _quote_pattern(suffix, "*") if suffix else _quote_pattern(path)
    return f": --include {pattern} copies such files unread"


def _quote_pattern(path: str, start: str = "") -> str:
    """Pattern of a path for ``--include``, quoted for the shell."""
    return shlex.quote(start + glob.escape(path))


def describe_others(
    counts: Mapping[str, int],
    left_out: Sequence[str],
    hints: Sequence[str],
    content: Mapping[str, Any],
    facts: str,
) -> Iterator[str]:
    """What became of files that are not images, and what the annotations contain.

    Args:
        counts: files by outcome; ``included`` are among ``carried`` and ``edited``.
        left_out: the first files that were left out.
        hints: what can be done about them, one line each.
        content: what annotations contain, as in ``run.json``.
        facts: name of the file of the manifest that has it.
    """
    edited = f"{counts['edited']:,} edited, " if counts.get("edited") else ""
    if counts["carried"] or counts["left_out"] or edited:
        yield (
            f"Other files: {counts['carried']:,} copied, {edited}{counts['left_out']:,} left out "
            "(see manifest/others.jsonl)."
        )
    if counts["included"]:
        yield f"  copied as they are, unread, with --include: {counts['included']:,}"
    if left_out:
        more = counts["left_out"] - len(left_out)
        rest = [f"and {more:,} more"] if more > 0 else []
        yield f"  left out: {', '.join([*left_out, *rest])}"
    yield from (f"  {hint}" for hint in hints)
    yield from describe_content(content, facts)


def describe_content(content: Mapping[str, Any], facts: str = store.RUN) -> Iterator[str]:
    """What annotations and image names contain that can identify people, by kind and key."""
    report = Content()
    report.merge(content)
    kinds = report.kinds()
    if kinds:
        what = "names of images" if set(content["found"]) == {IMAGE_NAMES} else "annotations"
        if IMAGE_NAMES in content["found"] and len(content["found"]) > 1:
            what = "annotations and names of images"
        yield f"The {what} contain (by file in manifest/{facts}):"
    for kind, keys in kinds.items():
        yield f"  {kind}: {_list_keys(Counter(keys))}"
    dropped: Counter[str] = Counter()
    for keys in content["dropped"].values():
        dropped.update(keys)
    if dropped:
        yield f"Left out of the annotations: {_list_keys(dropped)}"


def _list_keys(keys: Counter[str]) -> str:
    common = keys.most_common(_SHOWN_KEYS)
    shown = [f"{escape_unprintable(key)} ({count:,})" for key, count in common]
    more = len(keys) - len(shown)
    return ", ".join([*shown, *([f"and {more:,} other keys"] if more else [])])


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
