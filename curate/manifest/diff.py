"""How two runs differ: recipes, outcomes, faces added and lost, by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curate.core.entries import ManifestEntry
from curate.core.faces import Face
from curate.core.geometry import iou
from curate.manifest import store
from curate.manifest.joining import join_by_id

SAME_FACE = 0.3
"""Two boxes of one image are of the same face from this intersection over union on."""


@dataclass(slots=True)
class Change:
    """What changed among some images, from the first run to the second.

    Args:
        images: images in both runs.
        faces_lost: faces of the first that the second has not.
        faces_added: faces of the second that the first had not.
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


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two runs differ.

    Args:
        facts: what differs in ``run.json``, by key path: the value of each run.
        only_first: images of the first run alone.
        only_second: images of the second run alone.
        changed_sources: images whose source file is another.
        changed_outputs: images whose output file is another.
        total: over all images in both.
        by_category: by class; ``-`` where there is none. Those without a change are left out.
        examples: ids of images with a change of faces or outcome, the first of them.
    """

    facts: dict[str, tuple[Any, Any]]
    only_first: int
    only_second: int
    changed_sources: int
    changed_outputs: int
    total: Change
    by_category: dict[str, Change]
    examples: tuple[str, ...] = field(default=())


_SHOWN = 20


def compare(first: Path, second: Path) -> Comparison:
    """Compare two manifests, streaming.

    Args:
        first: a manifest's folder.
        second: another's.

    Raises:
        ManifestError: if one of them cannot be read.
    """
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
    return Comparison(
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
    """How many faces have no partner among the others, one to one, best overlap first."""
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


_TOLD_APART = ("recipe", "detectors", "obfuscator", "libraries", "source", "counts", "tool")


def _compare_facts(first: dict[str, Any], second: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    told = dict[str, tuple[Any, Any]]()
    for key in _TOLD_APART:
        told |= _differences(_by_name(first.get(key)), _by_name(second.get(key)), key)
    return told


def _by_name(value: Any) -> Any:
    """A list of named things as an object, so that they are compared one by one."""
    return {item["name"]: item for item in value} if isinstance(value, list) else value


def _differences(a: Any, b: Any, path: str) -> dict[str, tuple[Any, Any]]:
    if isinstance(a, dict) and isinstance(b, dict):
        told = dict[str, tuple[Any, Any]]()
        for key in sorted({*a, *b}):
            told |= _differences(_of(a, key), _of(b, key), f"{path}.{key}")
        return told
    return {} if a == b else {path: (_short(a), _short(b))}


def _of(value: dict[str, Any], key: str) -> Any:
    return value.get(key, "absent")


def _short(value: Any) -> Any:
    """Whole objects are only said to be there: their digests stand in the manifests."""
    return "present" if isinstance(value, dict) else value
