"""The job of one shard: copy kept images, write added ones, and a row for each."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from curate import codec
from curate.balance.correct.augmentation import Augmentation, make_augmentation
from curate.balance.correct.decisions import Decision, DecisionIndex, open_decisions
from curate.balance.correct.output import Extent, format_map
from curate.balance.correct.source import SourceSpec
from curate.codec import Picture
from curate.core.affine import Affine, identity
from curate.core.errors import DataError, SourceChangedError, WithheldError
from curate.core.protocols import Source
from curate.core.records import ImageRecord, escape_unprintable, printable
from curate.engine.local import Report
from curate.engine.shards import Shard, Stage
from curate.layouts.editing import name_copy
from curate.manifest.corrections import Row, save_rows
from curate.manifest.store import digest_bytes, save_json
from curate.pipeline.shard import DATA, PART, TALLY, ShardResult
from curate.recipe import format_json


@dataclass(frozen=True, slots=True)
class BalanceJob:
    """Does shards of one correction; opened once per process.

    Args:
        opening: how to open SOURCE.
        work: the work folder.
        decisions: the index file.
        augmentation: a preset's name or a file; None for identical copies.
        writes_images: write images; only rows if False.
        seed: random seed of augmentations.
    """

    opening: SourceSpec
    work: Path
    decisions: Path
    augmentation: str | None
    writes_images: bool
    seed: int

    def open(self) -> Callable[[Shard, Report], ShardResult]:
        """Returns the function that does one shard."""
        source = self.opening.open()
        augmentation = make_augmentation(self.augmentation) if self.augmentation else None

        def work(shard: Shard, report: Report) -> ShardResult:
            rows: list[Row] = []
            with (
                open_decisions(self.decisions, fresh=False) as decisions,
                Stage(self.work / "staging", self.work / "shards", shard.name) as stage,
            ):
                ids = [printable(record.id) for record in shard.records]
                by_id = decisions.find_between(min(ids), max(ids))
                maker = _Maker(source, decisions, by_id, stage, augmentation, self)
                for index, record in enumerate(shard.records):
                    if self.writes_images or not index:
                        report(index, (index, 0))
                    rows += maker.make(record)
                save_rows(rows, stage.path(PART))
                outcomes = Counter(row.outcome for row in rows)
                tally = {
                    "images": len(shard.records),
                    "faces": 0,
                    "withheld": 0,
                    "removed": outcomes["removed"],
                    "added": outcomes["made"],
                }
                save_json(tally, stage.path(TALLY))
                stage.commit()
            return ShardResult(tally)

        return work


@dataclass(frozen=True, slots=True)
class _Maker:
    """Applies the decision for a record."""

    source: Source
    decisions: DecisionIndex
    by_id: Mapping[str, Decision]
    stage: Stage
    augmentation: Augmentation | None
    job: BalanceJob

    def make(self, record: ImageRecord) -> Iterator[Row]:
        """Rows of a record and of the copies added."""
        name = printable(record.id)
        decision = self.by_id.get(name)
        if decision is None:
            raise SourceChangedError(f"{name!a} is new in SOURCE; remove OUT and run again")
        data = self._read(record) if self.job.writes_images and decision.is_kept else None
        yield self._row(record, decision, data)
        for number in range(1, decision.copies + 1):
            yield self._copy(record, decision, number, data)

    def _read(self, record: ImageRecord) -> bytes:
        try:
            data = self.source.read(record)
        except WithheldError as error:
            raise DataError(
                f"{escape_unprintable(record.id)} cannot be read ({error.detail}); repair or "
                "remove it, or use --list-only"
            ) from None
        expected = self.decisions.expected(printable(record.id))
        if expected is not None and digest_bytes(data) != expected:
            raise DataError(
                f"{escape_unprintable(record.id)} differs from the manifest of SOURCE; see "
                "`curate verify`"
            )
        return data

    def _row(self, record: ImageRecord, decision: Decision, data: bytes | None) -> Row:
        return Row(
            **_describe_decision(decision),
            id=decision.id,
            outcome="kept" if decision.is_kept else "removed",
            reason=None if decision.is_kept else decision.why,
            weight=decision.weight if decision.is_kept else None,
            **self._written(record.id, data, data),
        )

    def _copy(
        self, record: ImageRecord, decision: Decision, number: int, data: bytes | None
    ) -> Row:
        how: dict[str, Any] = {}
        if data is None:
            suffix, encoded = PurePosixPath(record.id).suffix, None
        else:
            picture = self._decode(record, data)
            if self.augmentation is None:
                suffix, encoded = PurePosixPath(record.id).suffix, data
                how = {"affine": format_map(*_unchanged(picture))}
            else:
                suffix, encoded, how = self._augment(record, picture, number)
        name = name_copy(self.source, record, number, suffix)
        return Row(
            **_describe_decision(decision),
            id=printable(name),
            outcome="made",
            reason=decision.why,
            weight=decision.weight,
            made_from=decision.id,
            number=number,
            **how,
            **self._written(name, encoded, data),
        )

    def _decode(self, record: ImageRecord, data: bytes) -> Picture:
        try:
            return codec.load(data)
        except WithheldError as error:
            raise DataError(
                f"{escape_unprintable(record.id)} cannot be decoded ({error.detail}); repair or "
                "remove it"
            ) from None

    def _augment(
        self, record: ImageRecord, picture: Picture, number: int
    ) -> tuple[str, bytes, dict[str, Any]]:
        """Suffix and bytes of an augmented image, and the columns that describe it."""
        assert self.augmentation is not None  # noqa: S101 - narrows the type
        if len(picture.frames) > 1:
            raise DataError(
                f"{escape_unprintable(record.id)} has {len(picture.frames)} frames and cannot be "
                "augmented; use oversample, or exclude it"
            )
        seed = _seed(self.job.seed, printable(record.id), number)
        found = self.augmentation.apply(codec.upright_rgb(picture, 0), seed)
        size, _ = _unchanged(picture)
        how = {
            "seed": seed,
            "parameters": format_json(dict(found.parameters)),
            "affine": format_map(replace(size, orientation=picture.orientation), found.affine),
        }
        encoded = codec.encode_rgb(found.image, picture.format)
        return codec.suffix_of_rgb(picture.format), encoded, how

    def _written(self, path: str, data: bytes | None, origin: bytes | None) -> dict[str, Any]:
        """Write an image, if any; returns its columns."""
        if data is None or origin is None:
            return {}
        self.stage.write(f"{DATA}/{path}", data)
        return {
            "source_sha256": digest_bytes(origin),
            "output_path": path,
            "output_sha256": digest_bytes(data),
            "output_bytes": len(data),
        }


def _unchanged(picture: Picture) -> tuple[Extent, Affine]:
    """Size of the upright image and the identity map."""
    height, width = codec.upright_rgb(picture, 0).shape[:2]
    return Extent(width, height), identity(width, height)


def _describe_decision(decision: Decision) -> dict[str, Any]:
    return {"split": decision.split, "groups": decision.groups, "labels": decision.labels}


def _seed(seed: int, name: str, number: int) -> int:
    """Random seed of one copy, from the run's seed, the record and the copy's number."""
    digest = hashlib.blake2b(f"{seed}\0{name}\0{number}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") % (2**31)
