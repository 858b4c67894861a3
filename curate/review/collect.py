"""The images of a review with their proposed boxes, from a dataset, a table or an OUT."""

from __future__ import annotations

import fnmatch
import heapq
import operator
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from curate.core.entries import Outcome
from curate.core.errors import DataError, UsageError, WithheldError
from curate.core.faces import Face
from curate.core.protocols import Source
from curate.core.records import ImageRecord
from curate.layouts import open_source
from curate.layouts.faces.boxes import GivenFaces
from curate.manifest import store
from curate.manifest.files import DATA, MANIFEST
from curate.pipeline.given_faces import (
    FaceIndex,
    check_matches,
    load_given,
    match_faces,
    save_face_index,
)
from curate.pipeline.session import Step
from curate.review import priority, sampling
from curate.review.folder import Inputs
from curate.review.items import Item
from curate.review.priority import Prospect
from curate.storage.regular import load_json

_FILTER = re.compile(r"([\w.-]+)\s*(<=|>=|!=|=|<|>)\s*(.*)")
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge,
    "=": operator.eq, "!=": operator.ne,
}  # fmt: skip
CERTAIN = 0.9
"""Confidence from which a detector's box is taken for a real face in a hidden check."""

_WATCHED = 10_000  # images from one report of progress to the next

Groups = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Queueing:
    """Which images come, and in which order.

    Args:
        order: a name in `curate.review.priority.ORDERS`.
        filters: conditions such as ``faces>2`` or ``split=train``, all of which must hold.
        limit: most images; None for all.
        seed: of a random order.
        contradicted: ids of images without a face whose near-duplicate has one.

    Raises:
        UsageError: if a value is out of range.
    """

    order: str = "found"
    filters: tuple[str, ...] = ()
    limit: int | None = None
    seed: int = 0
    contradicted: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        if self.order not in priority.ORDERS:
            raise UsageError(f"--order is one of: {', '.join(priority.ORDERS)}")
        if self.limit is not None and self.limit < 1:
            raise UsageError("--limit is 1 or more")
        for text in self.filters:
            if not _FILTER.fullmatch(text):
                raise UsageError(
                    f"--filter {text!r} cannot be read; give NAME=VALUE, such as faces=0, "
                    "confidence<0.5, height<32, split=train or id=*.png"
                )


def open_reviewed(inputs: Inputs) -> Source:
    """The dataset whose images are shown: SOURCE, or the outputs of a run."""
    if inputs.run is None:
        if inputs.source is None:
            raise UsageError("name SOURCE, or the OUT of a run with --run")
        return open_source(inputs.source, inputs.layout)
    run = store.load_run(Path(inputs.run) / MANIFEST)
    return open_source(str(Path(inputs.run) / DATA), run["source"]["layout"], "OUT")


def digest_inputs(inputs: Inputs) -> dict[str, Any]:
    """What a review is about, for the first line of its journal."""
    if inputs.run is not None:
        run = store.load_run(Path(inputs.run) / MANIFEST)
        return {"faces_sha256": None, "run_sha256": run["records"]["sha256"]}
    if inputs.faces is None:
        return {"faces_sha256": None, "run_sha256": None}
    try:
        return {"faces_sha256": store.digest_file(Path(inputs.faces)), "run_sha256": None}
    except OSError as error:
        raise DataError(f"--faces {inputs.faces} cannot be read: {error.strerror}") from None


@contextmanager
def collected(inputs: Inputs, source: Source, work: Path) -> Iterator[Callable[[], Iterator[Item]]]:
    """What lists every image with its proposed faces, as often as it is called.

    Args:
        inputs: where everything is.
        source: the images that are shown.
        work: a file that may be made.
    """
    if inputs.run is not None:
        out = Path(inputs.run)
        yield lambda: _iter_outputs(out, source)
    elif inputs.faces is None:
        yield lambda: (Item(record=record) for record in source.records())
    else:
        faces = Path(inputs.faces)
        try:
            save_face_index(_iter_checked(faces), work)
            matches = match_faces(work, (record.id for record in source.records()))
            check_matches(matches, faces, allow_missing=True)
            index = FaceIndex(work)
            yield lambda: (_find_proposed(record, index) for record in source.records())
        finally:
            work.unlink(missing_ok=True)


def show_counts(
    list_items: Callable[[], Iterator[Item]], show: Callable[[Step], None]
) -> Callable[[], Iterator[Item]]:
    """List the images as before, and show how many, which takes minutes for millions."""

    def listed() -> Iterator[Item]:
        for number, item in enumerate(list_items(), 1):
            if number % _WATCHED == 0:
                show(Step("listing", "images", number, None))
            yield item

    return listed


def _iter_checked(faces: Path) -> Iterator[GivenFaces]:
    for given in load_given(faces):
        if given.relative and given.boxes:
            raise DataError(f"{faces} has boxes as shares of an image; convert them to pixels")
        yield given


def _find_proposed(record: ImageRecord, index: FaceIndex) -> Item:
    try:
        return _propose(record, index.find(record.id))
    except WithheldError as error:
        return Item(record=record, note=str(error))


def _propose(record: ImageRecord, given: GivenFaces | None) -> Item:
    if given is None:
        return Item(record=record)
    if given.withheld is not None:
        return Item(record=record, note=given.withheld)
    fields = given.fields or ({},) * len(given.boxes)
    frames = given.frames or ((),) * len(given.boxes)
    faces = tuple(
        Face(
            box,
            values.get("confidence"),
            tuple(values.get("detectors") or ()),
            values.get("decided_by") or "file",
            named,
        )
        for box, values, named in zip(given.boxes, fields, frames, strict=True)
    )
    return Item(
        record=record,
        faces=faces,
        examined=True,
        sha256=given.source_sha256,
        size=given.size,
    )


def _iter_outputs(out: Path, source: Source) -> Iterator[Item]:
    for entry in store.iter_entries(out / MANIFEST / store.RECORDS_FOLDER):
        if entry.outcome is not Outcome.WRITTEN or entry.output_path is None:
            continue
        record = source.find(entry.output_path)
        if record is None:
            raise DataError(f"{out} has no {entry.output_path!r}; run curate verify on it")
        size = (entry.width, entry.height) if entry.width and entry.height else None
        yield Item(
            record=record,
            faces=entry.faces,
            examined=True,
            sha256=entry.output_sha256,
            size=size,
        )


def queued(
    items: Iterator[Item], queueing: Queueing, groups: Groups, factors: Mapping[str, float]
) -> Iterator[Item]:
    """The images that pass the filters, each with its rank.

    Args:
        items: every image.
        queueing: what is wanted.
        groups: group labels by id.
        factors: missed faces by group, relative to all, as from `priority.group_factors`.
    """
    conditions = [_parse_filter(text) for text in queueing.filters]
    detectors = 1
    for item in items:
        named = groups.get(item.record.id, {})
        if not all(holds(item, named) for holds in conditions):
            continue
        detectors = max([detectors, *(len(face.detectors) for face in item.faces)])
        factor = max((factors.get(f"{k}={v}", 1.0) for k, v in named.items()), default=1.0)
        prospect = Prospect(
            faces=item.faces,
            pixels=item.size[0] * item.size[1] if item.size else 0,
            detectors=detectors,
            group_factor=factor,
            contradicted=item.record.id in queueing.contradicted,
        )
        yield replace(
            item, rank=_rank(item, prospect, queueing), confident=_is_confident(item, prospect)
        )


def _is_confident(item: Item, prospect: Prospect) -> bool:
    return not prospect.contradicted and priority.is_confident(item.faces)


def _rank(item: Item, prospect: Prospect, queueing: Queueing) -> float:
    if queueing.order == "confidence":
        return -priority.least_confidence(item.faces)
    if queueing.order == "size":
        return -min((face.box.height for face in item.faces), default=1e9)
    if queueing.order == "random":
        return int.from_bytes(sampling.hash_of(queueing.seed, item.record.id)[:6]) / 2**48
    return 0.0 if queueing.order == "id" else priority.rank(prospect)


def _parse_filter(text: str) -> Callable[[Item, Mapping[str, str]], bool]:
    match = _FILTER.fullmatch(text)
    if match is None:
        raise UsageError(f"--filter {text!r} cannot be read")
    name, sign, wanted = match.groups()
    compare = _COMPARE[sign]
    numbers: Mapping[str, Callable[[Item], float]] = {
        "faces": lambda item: len(item.faces),
        "confidence": lambda item: priority.least_confidence(item.faces),
        "height": lambda item: min((f.box.height for f in item.faces), default=float("inf")),
    }
    if name in numbers:
        try:
            limit = float(wanted)
        except ValueError:
            raise UsageError(f"--filter {text!r}: {wanted!r} is not a number") from None
        measure = numbers[name]
        return lambda item, _: compare(measure(item), limit)
    if sign not in ("=", "!="):
        raise UsageError(f"--filter {text!r}: {name} is compared with = or != only")
    texts: Mapping[str, Callable[[Item], str | None]] = {
        "id": lambda item: item.record.id,
        "split": lambda item: item.record.split,
        "category": lambda item: item.record.category,
    }

    def holds(item: Item, named: Mapping[str, str]) -> bool:
        value = texts[name](item) if name in texts else named.get(name)
        return compare(fnmatch.fnmatchcase(value or "", wanted), True)

    return holds


def plan_sample(
    target: sampling.Target, items: Callable[[], Iterator[Item]], groups: Groups, by: str | None
) -> sampling.Plan:
    """Draw a sample of the images that would be published, and its hidden checks.

    Args:
        target: what it is to show.
        items: lists every image.
        groups: group labels by id, for strata by group.
        by: the column of the labels, or None for the first.

    Raises:
        UsageError: if there is nothing to draw from, or too few faces for the checks.
    """
    if target.stratify == "group" and not groups:
        raise UsageError("--stratify group needs --groups, a table of group labels by id")

    def stratum(item: Item) -> str:
        if target.stratify == "score":
            return _score_stratum(item.faces)
        if target.stratify == "group":
            labels = groups.get(item.record.id, {})
            name = by or next(iter(labels), "")
            return f"{name}={labels.get(name, 'unknown')}"
        return "all"

    def published() -> Iterator[Item]:
        return (item for item in items() if item.note is None)

    sizes = Counter(stratum(item) for item in published())
    plan = sampling.plan_sample(
        target, sizes, ((item.record.id, stratum(item)) for item in published())
    )
    return replace(plan, checks=_draw_checks(plan, published())) if target.checks else plan


def _score_stratum(faces: Sequence[Face]) -> str:
    if not faces:
        return "no box"
    return "certain" if priority.is_confident(faces) else "uncertain"


def _draw_checks(plan: sampling.Plan, items: Iterator[Item]) -> tuple[tuple[str, int], ...]:
    """Images with a certain face that is not in the sample, and which face is not shown."""
    target, drawn = plan.target, {name for each in plan.strata for name in each.drawn}
    heap: list[tuple[int, str, int]] = []
    for item in items:
        if item.record.id in drawn:
            continue
        for index, face in enumerate(item.faces):
            if not is_certain(face):
                continue
            key = -int.from_bytes(sampling.hash_of(target.seed, f"{index} {item.record.id}"))
            entry = (key, item.record.id, index)
            if all(name != item.record.id for _, name, _ in heap):
                if len(heap) < target.checks:
                    heapq.heappush(heap, entry)
                elif key > heap[0][0]:
                    heapq.heapreplace(heap, entry)
    if len(heap) < target.checks:
        raise UsageError(
            f"--checks {target.checks} needs as many images outside the sample with a certain "
            f"face; there are {len(heap)}"
        )
    return tuple((name, index) for _, name, index in sorted(heap, reverse=True))


def is_certain(face: Face) -> bool:
    """Whether a box is taken for a real face: by a person, a label, or a sure detector."""
    if face.decided_by == "person" or (face.decided_by == "file" and face.confidence is None):
        return True
    return face.confidence is not None and face.confidence >= CERTAIN


def sampled(plan: sampling.Plan, items: Iterator[Item]) -> Iterator[Item]:
    """The images of a sample and its checks, ranked in the order in which they are shown."""
    order = {name: position for position, name in enumerate(sampling.order_sample(plan))}
    removed = dict(plan.checks)
    for item in items:
        position = order.get(item.record.id)
        if position is None:
            continue
        check = item.record.id in removed
        if check and removed[item.record.id] >= len(item.faces):
            raise DataError(
                f"the sample has a check about a face that {item.record.id!r} does not have; "
                "restore sample.json from a backup"
            )
        yield replace(
            item,
            rank=-float(position),
            role="check" if check else "sample",
            removed=removed.get(item.record.id),
            confident=False,
        )


def load_contradicted(path: Path) -> frozenset[str]:
    """Images without a face whose near-duplicate has one, from the JSON of ``curate duplicates``.

    Raises:
        DataError: if it is not such a file.
    """
    try:
        value = load_json(path)
        return frozenset(str(name) for each in value["contradictions"] for name in each["without"])
    except OSError as error:
        raise DataError(f"--duplicates {path} cannot be read: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise DataError(
            f"--duplicates {path} is not the JSON of curate duplicates --faces"
        ) from None
