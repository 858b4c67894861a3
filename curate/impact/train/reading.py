"""Turn every image of both datasets into a row of numbers, once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from curate import codec
from curate.core.errors import DataError, PausedError, WithheldError
from curate.core.protocols import Pixels, Source
from curate.core.records import ImageRecord
from curate.engine.local import Finished, LocalPool, Report
from curate.engine.shards import Shard, iter_shards, shard_name
from curate.impact.train.pairs import Pairs
from curate.impact.train.plan import Running
from curate.impact.train.trial import DATASETS
from curate.impact.train.work import RowForm, Work
from curate.layouts import open_source
from curate.manifest.store import digest_bytes, load_json, save_json
from curate.pipeline.session import Step
from curate.pipeline.withhold import find_run_error

IMAGES = 256
"""Images of a shard."""


class Reader(Protocol):
    """How an image becomes a row; must survive pickling."""

    @property
    def form(self) -> RowForm:
        """Of a row."""
        ...

    @property
    def batch(self) -> int:
        """How many images are read together."""
        ...

    def open(self) -> Callable[[list[Pixels]], npt.NDArray[Any]]:
        """Load what is needed, once per process; returns what turns n images into n rows."""
        ...


@dataclass(frozen=True, slots=True)
class PixelReader:
    """Keeps images small.

    Args:
        side: height and width, pixels.
    """

    side: int
    batch: int = 1

    @property
    def form(self) -> RowForm:
        """side×side×3 uint8."""
        return RowForm((self.side, self.side, 3), "uint8")

    def open(self) -> Callable[[list[Pixels]], npt.NDArray[Any]]:
        """Returns what makes images small."""
        return lambda images: np.stack([shrink(image, self.side) for image in images])


def shrink(image: Pixels, side: int) -> Pixels:
    """The middle square of an image, side×side×3, its shorter side made as long as that."""
    import cv2

    height, width = image.shape[:2]
    factor = side / min(height, width)
    size = (max(side, round(width * factor)), max(side, round(height * factor)))
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    small = cv2.resize(image, size, interpolation=way)
    top, left = (size[1] - side) // 2, (size[0] - side) // 2
    return np.ascontiguousarray(small[top : top + side, left : left + side])


@dataclass(frozen=True, slots=True)
class ReadJob:
    """Everything a process needs to read shards; small, and survives pickling.

    Args:
        original: where the original dataset is.
        obfuscated: where the obfuscated one is.
        layouts: of both.
        reader: what makes rows.
        work: the work folder.
    """

    original: str
    obfuscated: str
    layouts: tuple[str, str]
    reader: Reader
    work: Work

    def open(self) -> Callable[[Shard, Report], dict[str, Any]]:
        """Open both datasets; returns the shard function."""
        sources = (
            open_source(self.original, self.layouts[0], "ORIGINAL"),
            open_source(self.obfuscated, self.layouts[1], "OBFUSCATED"),
        )
        make = self.reader.open()

        def work(shard: Shard, report: Report) -> dict[str, Any]:
            first, found = shard.number * IMAGES, _Found()
            for start in range(0, len(shard.records), self.reader.batch):
                records = shard.records[start : start + self.reader.batch]
                report(start, None)
                self._do(list(records), first + start, shard, (sources, make), found)
            for dataset in DATASETS:
                _flush(self.work, dataset)
            save_json({"unreadable": found.unreadable}, self.work.done(shard.name))
            return {"digests": found.digests}

        return work

    def _do(
        self,
        records: list[ImageRecord],
        first: int,
        shard: Shard,
        tools: tuple[tuple[Source, Source], Callable[[list[Pixels]], npt.NDArray[Any]]],
        found: _Found,
    ) -> None:
        """Read some images of both datasets; one that either cannot show counts in neither."""
        sources, make = tools
        places, images = [], []
        for place, record in enumerate(records, start=first):
            digests, pair = _read_pair(record, sources, record.id in shard.withhold)
            found.digests.append(digests)
            if pair is None:
                found.unreadable.append(place)
            else:
                places.append(place)
                images.append(pair)
        if not places:
            return
        for dataset, own in zip(DATASETS, zip(*images, strict=True), strict=True):
            _write(self.work, dataset, places, make(list(own)))


class _Found:
    """What is learnt of a shard."""

    def __init__(self) -> None:
        self.unreadable: list[int] = []
        self.digests: list[tuple[str | None, str | None]] = []


def _read_pair(
    record: ImageRecord, sources: tuple[Source, Source], refused: bool
) -> tuple[tuple[str | None, str | None], tuple[Pixels, Pixels] | None]:
    """Both files' digests and pixels; no pixels where one of them cannot be shown."""
    if refused:
        return (None, None), None
    original, obfuscated = sources
    try:
        other = obfuscated.find(record.id)
        if other is None:
            raise DataError(f"{record.id!r} has gone from OBFUSCATED; run again")
        data = (original.read(record), obfuscated.read(other))
        digests = (digest_bytes(data[0]), digest_bytes(data[1]))
    except WithheldError:
        return (None, None), None
    try:
        before, after = (codec.upright_rgb(codec.load(each)) for each in data)
    except WithheldError:
        return digests, None
    except Exception as error:
        trouble = find_run_error(error, record.id)
        if trouble is not None:
            raise trouble from error
        return digests, None
    return digests, (before, after)


def _write(work: Work, dataset: str, places: list[int], rows: npt.NDArray[Any]) -> None:
    size = rows[0].nbytes
    with work.rows(dataset).open("r+b") as file:
        for place, row in zip(places, rows, strict=True):
            file.seek(place * size)
            file.write(np.ascontiguousarray(row).tobytes())


def _flush(work: Work, dataset: str) -> None:
    with work.rows(dataset).open("r+b") as file:
        os.fsync(file.fileno())


def read_all(
    pairs: Pairs,
    reader: Reader,
    work: Work,
    lock: int,
    running: Running,
    workers: int,
    check: Callable[[int, list[tuple[str | None, str | None]]], None],
) -> npt.NDArray[np.bool_]:
    """Read every image that takes part; returns which have rows.

    Args:
        pairs: the images.
        reader: what makes rows.
        work: the work folder.
        lock: descriptor of its lock.
        running: how to go about it.
        workers: processes.
        check: told the digests of the files of a shard, from a place on.

    Raises:
        PausedError: if the run was stopped as asked.
    """
    for dataset in DATASETS:
        work.reserve(dataset, reader.form, len(pairs))
    done = sum(
        min(IMAGES, len(pairs) - number * IMAGES)
        for number in range(-(-len(pairs) // IMAGES))
        if work.done(shard_name(number)).is_file()
    )
    running.watch(Step("reading images", "images", done, len(pairs)))
    job = ReadJob(
        pairs.original.uri, pairs.obfuscated.uri,
        (pairs.original.layout, pairs.obfuscated.layout), reader, work,
    )  # fmt: skip
    for event in LocalPool(workers, running.stop, (lock,)).run(job, _iter_waiting(pairs, work)):
        if isinstance(event, Finished):
            digests = event.result["digests"]
            check(event.shard * IMAGES, digests)
            done += len(digests)
            running.watch(Step("reading images", "images", done, len(pairs)))
    if done < len(pairs):
        raise PausedError(
            f"paused after reading {done:,} of {len(pairs):,} images; "
            "run the same command again to go on"
        )
    return _load_readable(work, len(pairs))


def _iter_waiting(pairs: Pairs, work: Work) -> Iterator[Shard]:
    for shard in iter_shards(pairs.iter_originals(), IMAGES):
        if not work.done(shard.name).is_file():
            yield shard


def _load_readable(work: Work, images: int) -> npt.NDArray[np.bool_]:
    readable = np.ones(images, dtype=bool)
    for number in range(-(-images // IMAGES)):
        readable[load_json(work.done(shard_name(number)))["unreadable"]] = False
    return readable
