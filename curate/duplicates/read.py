"""Read and fingerprint the images of a dataset: in threads, or by the workers of an engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

from curate import codec
from curate.core.errors import DataError, WithheldError
from curate.core.protocols import Source
from curate.core.records import ImageRecord
from curate.duplicates.hashing import Fingerprint, make_fingerprint
from curate.engine.local import Finished, Report
from curate.engine.shards import Shard, iter_shards
from curate.layouts import open_source
from curate.manifest import store
from curate.pipeline.environment import run_job
from curate.pipeline.session import Session, count_workers
from curate.recipe import Recipe

_AHEAD = 256  # images in work at once
_SHARD = 64
_SHARDS_AHEAD = 256  # shards that are done before an earlier one is


@dataclass(frozen=True, slots=True)
class ReadImage:
    """The first frame of an image.

    Args:
        width: pixels.
        height: pixels.
        orientation: as in its metadata.
        sha256: digest of the stored bytes.
        fingerprint: what it is compared by.
    """

    width: int
    height: int
    orientation: int
    sha256: str
    fingerprint: Fingerprint


@dataclass(frozen=True, slots=True)
class ReadJob:
    """Reads images; opened once per thread or worker.

    Args:
        uri: path or URI of the dataset.
        layout: its layout.
        name: what messages call it.
        follow_links: whether symbolic links that point outside the dataset are followed.
    """

    uri: str
    layout: str
    name: str = "SOURCE"
    follow_links: bool = False

    def open(self) -> Callable[[Shard, Report], list[ReadImage | None]]:
        """Return the function that reads the images of a shard; None for unreadable ones."""
        source = open_source(self.uri, self.layout, self.name, self.follow_links)

        def work(shard: Shard, report: Report) -> list[ReadImage | None]:
            found = []
            for index, record in enumerate(shard.records):
                report(index, None)
                found.append(None if record.id in shard.withhold else _read(source, record))
            return found

        return work


def iter_reads(
    job: ReadJob, records: Iterable[ImageRecord], session: Session
) -> Iterator[tuple[ImageRecord, ReadImage | None]]:
    """Yield every record with its image, in order; None if it cannot be decoded.

    On the local engine threads do the work: decoding and hashing leave the interpreter's lock.

    Args:
        job: how to read.
        records: what to read.
        session: the engine, and the threads of the local one.
    """
    workers = count_workers(Recipe(), session)
    if session.engine == "local":
        yield from _read_in_threads(job, records, workers)
    else:
        yield from _read_on_engine(job, records, session, workers)


def _read_in_threads(
    job: ReadJob, records: Iterable[ImageRecord], workers: int
) -> Iterator[tuple[ImageRecord, ReadImage | None]]:
    opened: dict[int, Callable[[Shard, Report], list[ReadImage | None]]] = {}

    def work(slot: int, part: list[ImageRecord]) -> list[ReadImage | None]:
        if slot not in opened and part:
            opened[slot] = job.open()
        return opened[slot](Shard(0, tuple(part)), lambda *_: None) if part else []

    stream, slots = iter(records), range(workers)
    with ThreadPoolExecutor(workers) as pool:
        while batch := list(islice(stream, _AHEAD)):
            parts = [batch[slot::workers] for slot in slots]
            reads = [iter(done) for done in pool.map(work, slots, parts)]
            for index, record in enumerate(batch):
                yield record, next(reads[index % workers])


def _read_on_engine(
    job: ReadJob, records: Iterable[ImageRecord], session: Session, workers: int
) -> Iterator[tuple[ImageRecord, ReadImage | None]]:
    """Put the shards of an engine, which are done in any order, into their order again."""
    given: dict[int, tuple[ImageRecord, ...]] = {}
    done: dict[int, list[ReadImage | None]] = {}
    following = 0

    def supply() -> Iterator[Shard | None]:
        for shard in iter_shards(records, _SHARD):
            while shard.number - following > _SHARDS_AHEAD:
                yield None
            given[shard.number] = shard.records
            yield shard

    for event in run_job(job, supply(), session, None, workers):
        if isinstance(event, Finished):
            done[event.shard] = event.result
        while following in done:
            yield from zip(given.pop(following), done.pop(following), strict=True)
            following += 1


def _read(source: Source, record: ImageRecord) -> ReadImage | None:
    """Fingerprint the first frame of an image; None if it cannot be decoded."""
    try:
        data = source.read(record)
        picture = codec.load(data)
    except WithheldError:
        return None
    except DataError as error:
        raise DataError(f"{record.id!r} cannot be read: {error}") from None
    return ReadImage(
        picture.width,
        picture.height,
        picture.orientation,
        store.digest_bytes(data),
        make_fingerprint(codec.upright_rgb(picture, 0)),
    )
