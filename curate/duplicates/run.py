"""Find the near-duplicates of a dataset; memory grows by 100 bytes an image at most."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from curate.core.arguments import checked
from curate.core.entries import Outcome
from curate.core.errors import DataError, SetupError, UsageError
from curate.core.geometry import turn
from curate.core.protocols import Source
from curate.core.records import ImageRecord
from curate.duplicates import search
from curate.duplicates.hashing import (
    MIN_QUALITY,
    MIN_SIMILARITY,
    SIDE,
    THRESHOLD,
    WORDS,
    Gray,
    Hashes,
    invert,
    similarity,
)
from curate.duplicates.read import ReadImage, ReadJob, iter_reads
from curate.duplicates.report import Duplicates, Group, Member
from curate.duplicates.search import UnionFind
from curate.layouts import explain_no_images, open_source
from curate.manifest import store
from curate.manifest.files import DATA, MANIFEST, Problem
from curate.pipeline.given_faces import load_faces
from curate.pipeline.progress import show_steps
from curate.pipeline.session import Session, Step
from curate.storage.index import open_index

_SCHEMA = """
CREATE TABLE faces (id BLOB PRIMARY KEY, count INTEGER) WITHOUT ROWID;
CREATE TABLE images (
    number INTEGER PRIMARY KEY, id BLOB, output INTEGER, split TEXT, faces INTEGER,
    width INTEGER, height INTEGER, orientation INTEGER, sha256 TEXT);
CREATE TABLE hashed (position INTEGER PRIMARY KEY, number INTEGER);
CREATE TABLE edges (a INTEGER, b INTEGER, orientation INTEGER);
"""
_WATCHED = 256  # images from one report of progress to the next


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOptions:
    """How near-duplicates are searched.

    Args:
        faces: a file of faces, to find copies of which one has a face and another none.
        layout: SOURCE's layout, or ``auto``.
        threshold: bits in which two hashes may differ, 0 to 31.
        workers: threads that read and hash, or workers of another engine; None for one per core.
        engine: what reads and hashes, as in `Session`: threads where it is ``local``.

    Raises:
        UsageError: if a value is out of range.
    """

    faces: Path | None = None
    layout: str = "auto"
    threshold: int = THRESHOLD
    workers: int | None = None
    engine: str = "local"

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= search.MAX_DISTANCE:
            raise UsageError(f"--threshold cannot be {self.threshold}; give 0 to 31 bits")


@dataclass(frozen=True, slots=True)
class Edge:
    """Two images that show one picture.

    Args:
        a: number of the one.
        b: number of the other, which is higher.
        orientation: the EXIF orientation that turns the one into the other, 1–8.
    """

    a: int
    b: int
    orientation: int


@checked
def find_duplicates(
    source: str | Path,
    out: str | Path | None = None,
    options: SearchOptions | None = None,
    watch: Callable[[int], None] | None = None,
    *,
    quiet: bool = False,
) -> Duplicates:
    """Find images of a dataset that show the same picture.

    Copies, re-encodings, rescaled, brighter or darker, mirrored or turned by quarters, and slightly
    cropped images are found; crops of more than about 3 % are not. With ``out``, outputs in which
    nothing was hidden are compared with SOURCE too: one whose near-duplicate has a face is a leak.

    Args:
        source: the dataset; only read.
        out: the OUT of a run, or None.
        options: how.
        watch: called with the number of images read so far, which is then not shown.
        quiet: show no progress.

    Raises:
        UsageError: if the request contradicts itself.
        DataError: if SOURCE, OUT or the faces cannot be used.
        SetupError: if the temporary folder has no space.
    """
    options = options or SearchOptions()
    if out is not None and options.faces is not None:
        raise UsageError("--faces and OUT exclude each other; the manifest of OUT lists its faces")
    opened = open_source(str(source), options.layout)
    target = None if out is None else Path(out)
    with show_reading(watch, quiet) as count, searched(opened, target, options, count) as found:
        return found.report()


@contextmanager
def show_reading(
    watch: Callable[[int], None] | None, quiet: bool
) -> Iterator[Callable[[int], None]]:
    """Yield what is called with the number of images read: ``watch``, or a progress bar."""
    with show_steps(quiet or watch is not None) as show:
        yield watch or (lambda done: show(_read_step(done)))


def _read_step(done: int) -> Step:
    return Step("reading", "images", done, None)


def iter_problems(
    source: str,
    out: Path,
    workers: int | None,
    engine: str = "local",
    uri: str | None = None,
    watch: Callable[[Step], None] = lambda _: None,
) -> Iterator[Problem]:
    """Outputs without a hidden face whose near-duplicate has one, as problems of OUT.

    Args:
        source: the dataset that OUT was made from.
        out: the output folder, or a copy of its manifest.
        workers: threads or workers, as in `SearchOptions`.
        engine: what reads and hashes, as in `Session`.
        uri: the URI of an output on an object storage, whose images are read there.
        watch: called with the progress.

    Raises:
        DataError: if SOURCE or OUT cannot be used.
    """
    layout = store.load_run(out / MANIFEST)["source"]["layout"]
    options = SearchOptions(layout=layout, workers=workers, engine=engine)
    opened = open_source(source, layout)

    def count(done: int) -> None:
        if done >= _WATCHED:
            watch(Step("near-duplicates", "images", done, None))

    with searched(opened, out, options, count, uri) as search_:
        found = search_.report()
    for each in found.to_dict()["unblurred"]:
        yield Problem(
            "leak",
            f"{DATA}/{each['output']}",
            "no face is hidden in it, and its near-duplicate "
            f"{each['near_duplicates'][0]!r} has one",
        )


@contextmanager
def searched(
    source: Source,
    out: Path | None,
    options: SearchOptions,
    watch: Callable[[int], None],
    uri: str | None = None,
) -> Iterator[Search]:
    """A finished search, with its edges, until the block ends; arguments as of `iter_problems`."""
    try:
        with (
            tempfile.TemporaryDirectory(prefix="curate-duplicates-") as folder,
            open_index(Path(folder) / "images.sqlite", _SCHEMA, what="list of images") as table,
            (Path(folder) / "gray").open("w+b") as gray,
            (Path(folder) / "hashes").open("w+b") as hashes,
        ):
            found = Search(table, gray, hashes, source.layout, options)
            found.read_faces(out)
            job = ReadJob(source.uri, source.layout, follow_links=source.follow_links)
            if not found.add(job, source.records(), False, watch):
                raise DataError(explain_no_images(source))
            if out is not None:
                layout = store.load_run(out / MANIFEST)["source"]["layout"]
                job = ReadJob(f"{uri or out}/{DATA}", layout, "OUT")
                found.add(job, _iter_unblurred(out, job), True, watch)
            found.connect()
            yield found
    except OSError as error:
        raise SetupError(f"the temporary folder cannot be used: {error.strerror}") from None


def _iter_unblurred(out: Path, job: ReadJob) -> Iterator[ImageRecord]:
    """Outputs in which no face was hidden."""
    outputs = open_source(job.uri, job.layout, job.name)
    for entry in store.iter_entries(out / MANIFEST / store.RECORDS_FOLDER):
        if entry.outcome is Outcome.WRITTEN and not entry.faces and entry.output_path:
            record = outputs.find(entry.output_path)
            if record is not None:
                yield record


class Search:
    """The images of a search, their fingerprints on disk, and the edges between them."""

    def __init__(
        self,
        table: sqlite3.Connection,
        gray: BinaryIO,
        hashes: BinaryIO,
        layout: str,
        options: SearchOptions,
    ) -> None:
        self.table, self.layout, self.options = table, layout, options
        self.gray, self.hashes = gray, hashes  # of each image with detail
        self.unreadable = self.plain = self.unverified = self.pairs = 0
        self.knows_faces = self.has_outputs = False
        self._count = self._hashed = 0

    def read_faces(self, out: Path | None) -> None:
        """Take over which images have faces, from OUT's manifest or from a file."""
        rows: Iterable[tuple[bytes, int]] = ()
        self.has_outputs = out is not None
        self.knows_faces = self.has_outputs or self.options.faces is not None
        if out is not None:
            entries = store.iter_entries(out / MANIFEST / store.RECORDS_FOLDER)
            rows = (
                (os.fsencode(entry.id), len(entry.faces))
                for entry in entries
                if entry.outcome is Outcome.WRITTEN
            )
        elif self.options.faces is not None:
            given = load_faces(self.options.faces)
            rows = ((os.fsencode(each.id), len(each.boxes)) for each in given)
        self.table.executemany(
            "INSERT INTO faces VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET "
            "count = count + excluded.count",
            rows,
        )

    def add(
        self,
        job: ReadJob,
        records: Iterable[ImageRecord],
        is_output: bool,
        watch: Callable[[int], None],
    ) -> int:
        """Read and fingerprint images; returns how many there are, unreadable ones included."""
        session = Session(workers=self.options.workers, engine=self.options.engine)
        reads = iter_reads(job, records, session)
        number = 0
        for number, (record, read) in enumerate(reads, 1):
            self._keep(record, is_output, read)
            if number % _WATCHED == 0:
                watch(self._count)
        watch(self._count)
        return number

    def _keep(self, record: ImageRecord, is_output: bool, read: ReadImage | None) -> None:
        if read is None:
            self.unreadable += not is_output
            return
        self._count += 1
        key = os.fsencode(record.id)
        count = self.table.execute("SELECT count FROM faces WHERE id = ?", (key,)).fetchone()
        row = (
            self._count, key, is_output, record.split,
            None if count is None else count[0],
            read.width, read.height, read.orientation, read.sha256,
        )  # fmt: skip
        self.table.execute("INSERT INTO images VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
        if read.fingerprint.quality < MIN_QUALITY:
            self.plain += not is_output
            return
        self.gray.write(read.fingerprint.gray.tobytes())
        self.hashes.write(read.fingerprint.hashes.tobytes())
        self.table.execute("INSERT INTO hashed VALUES (?, ?)", (self._hashed, self._count))
        self._hashed += 1

    def connect(self) -> None:
        """Find and verify the edges."""
        self.gray.flush()
        self.hashes.flush()
        self.table.execute("CREATE INDEX by_bytes ON images (sha256)")
        # The same bytes need no hash.
        self.table.execute(
            "INSERT INTO edges SELECT first, number, 1 FROM images JOIN "
            "(SELECT sha256 AS digest, min(number) AS first FROM images GROUP BY sha256) "
            "ON digest = sha256 WHERE number > first"
        )
        if self._hashed:
            self._search(np.memmap(self.hashes, np.uint64, "r").reshape(-1, 8, WORDS))
        self.pairs = int(self.table.execute("SELECT count(*) FROM edges").fetchone()[0])

    def _search(self, hashes: Hashes) -> None:
        """Search distinct hashes only; images of one hash are tied to the first of them."""
        plain = np.ascontiguousarray(hashes[:, 0])
        distinct, first, group = np.unique(plain, axis=0, return_index=True, return_inverse=True)
        numbers = np.fromiter(
            (row[0] for row in self.table.execute("SELECT number FROM hashed ORDER BY position")),
            np.int64,
        )
        same = np.flatnonzero(first[group.ravel()] != np.arange(len(plain)))
        self._verify(zip(first[group.ravel()[same]], same, strict=True), numbers, 1)
        found = search.iter_pairs(distinct, self.options.threshold)
        pairs = ((first[i], first[j]) for a, b, _ in found for i, j in zip(a, b, strict=True))
        self._verify(pairs, numbers, 1)
        for orientation in range(2, 8):  # the images of 8 are found from the other side, with 6
            turned = np.ascontiguousarray(hashes[:, orientation - 1])
            found = search.iter_matches(turned, distinct, self.options.threshold)
            pairs = ((i, first[j]) for a, b, _ in found for i, j in zip(a, b, strict=True))
            self._verify(pairs, numbers, orientation)

    def _verify(
        self, pairs: Iterable[tuple[int, int]], numbers: np.ndarray, orientation: int
    ) -> None:  # fmt: skip
        """Keep the pairs of which the first, turned, is similar to the second."""
        back = invert(orientation)
        for i, j in pairs:
            if i == j or (i > j and orientation not in (1, 6)):
                continue  # found from the other side
            a, b = self._load_gray(int(i)), self._load_gray(int(j))
            if similarity(turn(a, orientation), b) < MIN_SIMILARITY:
                self.unverified += 1
                continue
            how = orientation if i < j else back
            edge = (int(numbers[min(i, j)]), int(numbers[max(i, j)]), how)
            self.table.execute("INSERT INTO edges VALUES (?, ?, ?)", edge)

    def _load_gray(self, position: int) -> Gray:
        data = os.pread(self.gray.fileno(), SIDE * SIDE, position * SIDE * SIDE)
        return np.frombuffer(data, np.uint8).reshape(SIDE, SIDE)

    def iter_edges(self) -> Iterator[Edge]:
        """Every verified edge, in order."""
        edges = "SELECT DISTINCT a, b, orientation FROM edges ORDER BY a, b, orientation"
        for row in self.table.execute(edges):
            yield Edge(*row)

    def report(self) -> Duplicates:
        """Join the edges into groups."""
        union = UnionFind(self._count + 1)
        union.join_all((edge.a, edge.b) for edge in self.iter_edges())
        groups = (self._describe(numbers) for numbers in union.iter_groups())
        kept = [group for group in groups if len(group.images) > 1 or group.leaks]
        count = self.table.execute("SELECT count(*) FROM images WHERE NOT output").fetchone()[0]
        return Duplicates(
            layout=self.layout,
            images=int(count) + self.unreadable,
            unreadable=self.unreadable,
            plain=self.plain,
            threshold=self.options.threshold,
            pairs=self.pairs,
            unverified=self.unverified,
            groups=tuple(sorted(kept, key=lambda group: [each.id for each in group.images])),
            knows_faces=self.knows_faces,
            has_outputs=self.has_outputs,
        )

    def _describe(self, numbers: Iterable[int]) -> Group:
        members: list[Member] = []
        unblurred: list[str] = []
        for number in numbers:
            key, output, split, faces = self.table.execute(
                "SELECT id, output, split, faces FROM images WHERE number = ?", (int(number),)
            ).fetchone()
            if output:
                unblurred.append(os.fsdecode(key))
            else:
                members.append(Member(os.fsdecode(key), split, faces))
        ordered = sorted(members, key=lambda member: os.fsencode(member.id))
        return Group(tuple(ordered), tuple(sorted(unblurred)))
