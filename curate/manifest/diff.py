"""The differences between two runs: recipes, outcomes, faces added and lost, by class."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.core.arguments import checked
from curate.core.entries import ManifestEntry
from curate.core.faces import Face
from curate.core.geometry import iou
from curate.core.records import escape_unprintable, join_lines
from curate.manifest import store
from curate.manifest.store import join_by_id

if TYPE_CHECKING:
    import pandas as pd

SAME_FACE = 0.3
"""Minimum intersection over union of two boxes of the same face."""


@dataclass(slots=True)
class Change:
    """Changes among some images, from the first run to the second.

    Args:
        images: images in both runs.
        faces_lost: faces of the first run only.
        faces_added: faces of the second run only.
        now_written: images that were withheld.
        now_withheld: images that were written.
    """

    images: int = 0
    faces_lost: int = 0
    faces_added: int = 0
    now_written: int = 0
    now_withheld: int = 0

    @property
    def is_any(self) -> bool:
        """Whether anything changed."""
        return bool(self.faces_lost or self.faces_added or self.now_written or self.now_withheld)


@dataclass(frozen=True, slots=True, repr=False)
class ManifestDiff:
    """The differences between two runs.

    Args:
        facts: values that differ in ``run.json``, by key path, of both runs.
        only_first: images of the first run only.
        only_second: images of the second run only.
        changed_sources: images with different source files.
        changed_outputs: images with different output files.
        total: over all images in both.
        by_category: by class, ``-`` for none; classes without a change are omitted.
        examples: ids of the first images with a change of faces or outcome.
    """

    facts: dict[str, tuple[Any, Any]]
    only_first: int
    only_second: int
    changed_sources: int
    changed_outputs: int
    total: Change
    by_category: dict[str, Change]
    examples: tuple[str, ...] = field(default=())

    def to_text(self) -> str:
        """The differences, for the terminal."""
        lines = ["Different in run.json:"] if self.facts else []
        lines += [
            f"  {key}: {format_value(a)} → {format_value(b)}" for key, (a, b) in self.facts.items()
        ]
        if self.only_first or self.only_second:
            lines.append(
                f"Images only in the first: {self.only_first:,}; "
                f"only in the second: {self.only_second:,}."
            )
        lines += [
            f"{self.total.images:,} images in both: {_describe_change(self.total)}.",
            f"Different files: {self.changed_outputs:,} outputs, {self.changed_sources:,} sources.",
            *(
                f"  {name}: {_describe_change(each)}"
                for name, each in self.by_category.items()
                if [*self.by_category] != ["-"]  # without classes, it repeats the total
            ),
        ]
        if self.examples:
            lines += ["Examples:", *(f"  {name}" for name in self.examples[:5])]
        return join_lines(lines)

    def to_frame(self) -> pd.DataFrame:
        """The changes by class, a row each."""
        import pandas as pd

        rows = {name: asdict(change) for name, change in self.by_category.items()}
        names = [each.name for each in fields(Change)]
        return pd.DataFrame.from_dict(rows, orient="index", columns=names)

    def __repr__(self) -> str:
        return f"<ManifestDiff: {_describe_change(self.total)}>"

    def _repr_html_(self) -> str:
        text = "\n".join(escape_unprintable(line) for line in self.to_text().splitlines())
        return f"<pre>{html.escape(text)}</pre>"


_SHOWN = 20


@checked
def diff_manifests(first: str | Path, second: str | Path) -> ManifestDiff:
    """Compare the manifests of two runs.

    >>> import curate
    >>> curate.diff_manifests("manifests/demo", "manifests/demo")
    <ManifestDiff: 0 faces lost, 0 added; 0 now withheld, 0 now written>

    Args:
        first: an output, or the folder of its manifest.
        second: another.

    Raises:
        ManifestError: if one of them cannot be read.
    """
    first, second = store.find_manifest(Path(first)), store.find_manifest(Path(second))
    runs = store.load_run(first), store.load_run(second)
    counts: Counter[str] = Counter()
    total, by_category, examples = Change(), dict[str, Change](), list[str]()
    for before, after in _iter_pairs(first, second):
        if before is None or after is None:
            counts["first" if after is None else "second"] += 1
            continue
        counts["sources"] += before.source_sha256 != after.source_sha256
        counts["outputs"] += before.output_sha256 != after.output_sha256
        change = _compare_entries(before, after)
        _add(total, change)
        _add(by_category.setdefault(after.category or "-", Change()), change)
        if change.is_any and len(examples) < _SHOWN:
            examples.append(after.id)
    return ManifestDiff(
        facts=_compare_facts(*runs),
        only_first=counts["first"],
        only_second=counts["second"],
        changed_sources=counts["sources"],
        changed_outputs=counts["outputs"],
        total=total,
        by_category={name: one for name, one in sorted(by_category.items()) if one.is_any},
        examples=tuple(examples),
    )


def count_unmatched(faces: Sequence[Face], others: Sequence[Face]) -> int:
    """Count the faces without a match among the others, one to one, best overlap first."""
    pairs = sorted(
        (
            (iou(face.box, other.box), i, j)
            for i, face in enumerate(faces)
            for j, other in enumerate(others)
        ),
        reverse=True,
    )
    left, right = set(range(len(faces))), set(range(len(others)))
    for overlap, i, j in pairs:
        if overlap >= SAME_FACE and i in left and j in right:
            left.remove(i)
            right.remove(j)
    return len(left)


def _describe_change(change: Change) -> str:
    return (
        f"{change.faces_lost:,} faces lost, {change.faces_added:,} added; "
        f"{change.now_withheld:,} now withheld, {change.now_written:,} now written"
    )


def _compare_entries(before: ManifestEntry, after: ManifestEntry) -> Change:
    if before.outcome is not after.outcome:
        written = after.outcome.value == "written"
        return Change(images=1, now_written=int(written), now_withheld=int(not written))
    return Change(
        images=1,
        faces_lost=count_unmatched(before.faces, after.faces),
        faces_added=count_unmatched(after.faces, before.faces),
    )


def _add(total: Change, change: Change) -> None:
    total.images += change.images
    total.faces_lost += change.faces_lost
    total.faces_added += change.faces_added
    total.now_written += change.now_written
    total.now_withheld += change.now_withheld


def _iter_pairs(
    first: Path, second: Path
) -> Iterator[tuple[ManifestEntry | None, ManifestEntry | None]]:
    old = store.iter_entries(first / store.RECORDS_FOLDER)
    new = store.iter_entries(second / store.RECORDS_FOLDER)
    yield from join_by_id(old, new)


def format_value(value: Any) -> str:
    """A value in a line of text; of digests, the first twelve digits."""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(format_value, value)) or "none"
    if isinstance(value, str):
        return f"{value[:12]}…" if re.fullmatch("[0-9a-f]{64}", value) else value or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


_COMPARED = ("recipe", "detectors", "obfuscator", "libraries", "source", "counts", "tool")


def _compare_facts(first: dict[str, Any], second: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    found = dict[str, tuple[Any, Any]]()
    for key in _COMPARED:
        found |= _differences(_by_name(first.get(key)), _by_name(second.get(key)), key)
    return found


def _by_name(value: Any) -> Any:
    """A list of objects with names as one object, to compare them by name."""
    return {item["name"]: item for item in value} if isinstance(value, list) else value


def _differences(a: Any, b: Any, path: str) -> dict[str, tuple[Any, Any]]:
    if isinstance(a, dict) and isinstance(b, dict):
        found = dict[str, tuple[Any, Any]]()
        for key in sorted({*a, *b}):
            found |= _differences(_of(a, key), _of(b, key), f"{path}.{key}")
        return found
    return {} if a == b else {path: (_short(a), _short(b))}


def _of(value: dict[str, Any], key: str) -> Any:
    return value.get(key, "absent")


def _short(value: Any) -> Any:
    """A nested object is only reported as present."""
    return "present" if isinstance(value, dict) else value
