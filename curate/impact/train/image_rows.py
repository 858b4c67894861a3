"""Decoding of the paired images, once, into array rows on disk: pixels or features."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from curate import codec
from curate.core.errors import DataError, PausedError, WithheldError
from curate.core.protocols import Classifier, Pixels, Source
from curate.core.records import ImageRecord
from curate.engine.local import Finished, LocalPool, Report
from curate.engine.shards import Shard, iter_shards, shard_name
from curate.impact.experiment import Bools
from curate.impact.train.cells import DATASETS
from curate.impact.train.options import TrainSession
from curate.impact.train.paired_images import FileDigests, PairedImages
from curate.impact.train.work import RowForm, Work
from curate.layouts import open_source
from curate.manifest.store import digest_bytes, load_json, save_json
from curate.pipeline.session import Step
from curate.pipeline.withhold import find_run_error

IMAGES = 256
"""Images per shard."""

_BATCHES = {"cpu": 8, "cuda": 64}
"""Images per batch of features; small batches stay in a processor's cache."""

Convert = Callable[[list[Pixels]], npt.NDArray[Any]]
"""Converts n images to n rows."""


class Reader(Protocol):
    """Conversion of an image to a row; can be pickled."""

    @property
    def form(self) -> RowForm:
        """Shape and type of a row."""
        ...

    @property
    def batch(self) -> int:
        """Number of images that are converted together."""
        ...

    def open(self) -> Convert:
        """Load what is needed, once per process."""
        ...


@dataclass(frozen=True, slots=True)
class PixelReader:
    """Stores resized images.

    Args:
        side: height and width, pixels.
    """

    side: int
    batch: int = 1

    @property
    def form(self) -> RowForm:
        """Shape (side, side, 3), uint8."""
        return RowForm((self.side, self.side, 3), "uint8")

    def open(self) -> Convert:
        """Return the conversion."""
        return lambda images: np.stack([shrink(image, self.side) for image in images])


def shrink(image: Pixels, side: int) -> Pixels:
    """Resize the shorter side to ``side`` and crop the center, shape (side, side, 3)."""
    import cv2

    height, width = image.shape[:2]
    factor = side / min(height, width)
    size = (max(side, round(width * factor)), max(side, round(height * factor)))
    interpolation = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    small = cv2.resize(image, size, interpolation=interpolation)
    top, left = (size[1] - side) // 2, (size[0] - side) // 2
    return np.ascontiguousarray(small[top : top + side, left : left + side])


@dataclass(frozen=True, slots=True)
class FeatureReader:
    """Stores the input of a model's last layer.

    Args:
        spec: specification of the model.
        device: ``cpu`` or ``cuda``.
        form: shape and type of one image's features.
    """

    spec: str
    device: str
    form: RowForm

    @property
    def batch(self) -> int:
        """Number of images that are converted together."""
        return _BATCHES[self.device]

    def open(self) -> Convert:
        """Load the model."""
        import torch

        torch.set_num_threads(1)  # sums keep their order on any number of cores
        model = open_classifier(self.spec, self.device)
        return lambda images: compute_features(model, images, self.spec)


def open_classifier(spec: str, device: str) -> Classifier:
    """Open a model; a function of its own so that tests can replace it."""
    from curate.impact.models import open_model

    return open_model(spec, device)


def open_reader(spec: str, device: str) -> tuple[FeatureReader, Mapping[str, Any]]:
    """Open a model to find the size of its features; returns its entry in the report too.

    Raises:
        UsageError: if there is no such model, or it has no features.
    """
    model = open_classifier(spec, device)
    shape = compute_features(model, [np.zeros((64, 64, 3), dtype=np.uint8)], spec).shape[1:]
    return FeatureReader(spec, device, RowForm(shape, "float32")), model.describe()


def compute_features(model: Classifier, images: list[Pixels], spec: str) -> npt.NDArray[np.float32]:
    """Return features of some images, shape (n, D).

    Raises:
        DataError: if one is not finite.
    """
    batch = np.stack([model.prepare(image) for image in images])
    features = np.asarray(model.features(batch), dtype=np.float32)
    if not np.isfinite(features).all():
        raise DataError(f"the model {spec} returns features that are not finite numbers")
    return features.reshape(len(images), -1)


@dataclass(frozen=True, slots=True)
class ReadJob:
    """Everything that a worker process needs to decode shards; can be pickled.

    Args:
        datasets: path or URI, layout and whether links are followed, of the original and of the
            obfuscated dataset.
        reader: converts images to rows.
        work: the work folder.
    """

    datasets: tuple[tuple[str, str, bool], tuple[str, str, bool]]
    reader: Reader
    work: Work

    def open(self) -> Callable[[Shard, Report], dict[str, Any]]:
        """Open both datasets; returns the function that decodes a shard."""
        original, obfuscated = self.datasets
        sources = (
            _open(original, "ORIGINAL"),
            _open(obfuscated, "OBFUSCATED"),
        )
        convert = self.reader.open()

        def work(shard: Shard, report: Report) -> dict[str, Any]:
            first, found = shard.number * IMAGES, _Found()
            for start in range(0, len(shard.records), self.reader.batch):
                records = shard.records[start : start + self.reader.batch]
                report(start, None)
                positions, pairs = [], []
                for position, record in enumerate(records, start=first + start):
                    digests, pair = _read_pair(record, sources, record.id in shard.withhold)
                    found.digests.append(digests)
                    if pair is None:
                        found.unreadable.append(position)
                    else:
                        positions.append(position)
                        pairs.append(pair)
                for dataset, images in zip(DATASETS, zip(*pairs, strict=True), strict=False):
                    _write(self.work, dataset, positions, convert(list(images)))
            for dataset in DATASETS:
                with self.work.rows(dataset).open("r+b") as file:
                    os.fsync(file.fileno())
            save_json({"unreadable": found.unreadable}, self.work.done(shard.name))
            return {"digests": found.digests}

        return work


@dataclass(slots=True)
class _Found:
    """What was read of a shard: positions without rows, and digests of all files."""

    unreadable: list[int] = field(default_factory=list)
    digests: list[FileDigests] = field(default_factory=list)


def _open(dataset: tuple[str, str, bool], name: str) -> Source:
    uri, layout, follow_links = dataset
    return open_source(uri, layout, name, follow_links)


def _read_pair(
    record: ImageRecord, sources: tuple[Source, Source], refused: bool
) -> tuple[FileDigests, tuple[Pixels, Pixels] | None]:
    """Digests and pixels of both files; no pixels where one cannot be decoded."""
    if refused:
        return (None, None), None
    original, obfuscated = sources
    try:
        other = obfuscated.find(record.id)
        if other is None:
            raise DataError(f"{record.id!r} was removed from OBFUSCATED; run again")
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


def _write(work: Work, dataset: str, positions: list[int], rows: npt.NDArray[Any]) -> None:
    size = rows[0].nbytes
    with work.rows(dataset).open("r+b") as file:
        for position, row in zip(positions, rows, strict=True):
            file.seek(position * size)
            file.write(np.ascontiguousarray(row).tobytes())


def read_all(
    images: PairedImages,
    reader: Reader,
    held: tuple[Work, int],
    session: TrainSession,
    workers: int,
) -> Bools:
    """Decode every pair; returns which have rows, shape (N,).

    Args:
        images: the pairs.
        reader: converts images to rows.
        held: the work folder and the file descriptor of its lock.
        session: progress and stop event.
        workers: number of processes.

    Raises:
        DataError: if a file differs from the manifest.
        PausedError: if the run was stopped as requested.
    """
    work, lock = held
    for dataset in DATASETS:
        work.reserve(dataset, reader.form, len(images))
    done = sum(
        min(IMAGES, len(images) - number * IMAGES)
        for number in range(-(-len(images) // IMAGES))
        if work.done(shard_name(number)).is_file()
    )
    session.watch(Step("reading images", "images", done, len(images)))
    original, output = (
        (source.uri, source.layout, source.follow_links)
        for source in (images.datasets.original, images.output)
    )
    job = ReadJob((original, output), reader, work)
    pool = LocalPool(workers, session.stop, (lock,))
    for event in pool.run(job, _iter_waiting(images, work)):
        if isinstance(event, Finished):
            digests = event.result["digests"]
            images.check_digests(event.shard * IMAGES, digests)
            done += len(digests)
            session.watch(Step("reading images", "images", done, len(images)))
    if done < len(images):
        raise PausedError(
            f"paused after reading {done:,} of {len(images):,} images; "
            "run the same command again to resume"
        )
    return _load_readable(work, len(images))


def _iter_waiting(images: PairedImages, work: Work) -> Iterator[Shard]:
    for shard in iter_shards(images.iter_originals(), IMAGES):
        if not work.done(shard.name).is_file():
            yield shard


def _load_readable(work: Work, images: int) -> Bools:
    readable = np.ones(images, dtype=bool)
    for number in range(-(-images // IMAGES)):
        readable[load_json(work.done(shard_name(number)))["unreadable"]] = False
    return readable
