"""Cut a dataset into shards of rows, and write them as Parquet or WebDataset.

Shards are cut by the sizes of the originals in the manifest's order, those of withheld images
included: when an image is withdrawn, only the shard that held it changes.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from curate.core.errors import DataError
from curate.manifest import store
from curate.publishing.dataset import Carried, Dataset, Item
from curate.publishing.hub.objects import Objects
from curate.storage.atomic import save_text
from curate.storage.regular import open_regular

SHARD_BYTES = 500 << 20
"""Shards are cut near this size."""
_ROWS = 100


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard: its split, its number in it, and how many the split has."""

    split: str
    number: int
    total: int

    def name(self, suffix: str) -> str:
        """Its file name."""
        return f"{self.split}-{self.number:05d}-of-{self.total:05d}.{suffix}"


def plan_shards(dataset: Dataset) -> tuple[dict[str, int], Iterator[tuple[Shard, list[Item]]]]:
    """Cut a dataset into shards.

    Returns:
        Shards by split, and every shard with its written items, streaming.
    """
    cuts: dict[str, list[int]] = {}
    for item in dataset.items():
        sizes = cuts.setdefault(item.split or "train", [0])
        if sizes[-1] + item.weight > SHARD_BYTES and sizes[-1]:
            sizes.append(0)
        sizes[-1] += item.weight
    totals = {split: len(sizes) for split, sizes in cuts.items()}
    return totals, _iter_planned(dataset, totals)


def _iter_planned(
    dataset: Dataset, totals: Mapping[str, int]
) -> Iterator[tuple[Shard, list[Item]]]:
    """Each split's shards; one pass over the manifest for each split, in constant memory."""
    for split, total in sorted(totals.items()):
        numbered = iter_numbered(dataset, split)
        for number, group in groupby(numbered, key=lambda pair: pair[0]):
            items = [item for _, item in group if item.is_written]
            yield Shard(split, number, total), items


def iter_numbered(dataset: Dataset, split: str) -> Iterator[tuple[int, Item]]:
    """The records of a split, each with the number of its shard."""
    number, size = 0, 0
    for item in dataset.items():
        if (item.split or "train") != split:
            continue
        if size + item.weight > SHARD_BYTES and size:
            number, size = number + 1, 0
        size += item.weight
        yield number, item


def write_parquet(rows: Iterator[dict[str, Any]], features: Any, path: Path) -> None:
    """Write rows with the features of ``datasets`` as one Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = features.arrow_schema
    with pq.ParquetWriter(path, schema, compression="zstd", write_page_index=True) as writer:
        waiting: list[dict[str, Any]] = []
        for row in rows:
            waiting.append(row)
            if len(waiting) == _ROWS:
                writer.write_table(pa.Table.from_pylist(waiting, schema=schema))
                waiting = []
        if waiting:
            writer.write_table(pa.Table.from_pylist(waiting, schema=schema))


def write_tar(
    items: Sequence[Item],
    path: Path,
    read: Callable[[Item], bytes],
    classes: Sequence[str],
    objects: Objects | None,
) -> None:
    """A sample of an image and a JSON each; the key is the digest of its path."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for item in items:
            key = hashlib.sha256(str(item.path).encode()).hexdigest()[:20]
            sample: dict[str, Any] = {"file_name": item.path}
            if classes:
                label = -1 if item.category is None else classes.index(item.category)
                sample |= {"label": label, "label_name": item.category or ""}
            if objects is not None:
                sample["objects"] = [
                    {**one, "category_name": objects.classes[one["category"]]}
                    for one in objects.find(item)
                ]
            _add(tar, f"{key}.{suffix_of(item)}", read(item))
            _add(tar, f"{key}.json", json.dumps(sample, sort_keys=True).encode())


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o644
    tar.addfile(info, io.BytesIO(data))


def suffix_of(item: Item) -> str:
    """The field of a WebDataset sample that holds an image."""
    suffix = PurePosixPath(str(item.path)).suffix.lower().lstrip(".")
    return "jpg" if suffix == "jpeg" else suffix


def iter_packs(files: Iterable[Carried]) -> Iterator[list[Carried]]:
    """Cut annotation files, in their order, into groups near the size of a shard."""
    waiting, size = list[Carried](), 0
    for file in files:
        if waiting and size + file.bytes > SHARD_BYTES:
            yield waiting
            waiting, size = [], 0
        waiting.append(file)
        size += file.bytes
    if waiting:
        yield waiting


def write_pack(files: Iterable[Carried], data: Path, path: Path) -> None:
    """Write annotation files as one tar, the same bytes for the same files.

    Args:
        files: what to write.
        data: the folder that their paths are below.
        path: the tar.

    Raises:
        DataError: if a file differs from the manifest.
    """
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for file in files:
            info = tarfile.TarInfo(file.path)
            info.size, info.mode = file.bytes, 0o644
            try:
                stream = open_regular(data / file.path)
            except OSError:
                raise _differs(file) from None
            with stream:
                hashed = _Hashed(stream)
                try:
                    tar.addfile(info, hashed)
                except OSError as error:
                    if error.errno is not None:  # of the tar, such as a full disk
                        raise
                    raise _differs(file) from None  # shorter than the manifest says
                if stream.read(1) or hashed.digest.hexdigest() != file.sha256:
                    raise _differs(file)


class _Hashed:
    """A file whose SHA-256 is computed while it is read."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self.digest = stream, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.digest.update(data)
        return data


def _differs(file: Carried) -> DataError:
    return DataError(f"data/{file.path} is not what the manifest says; run `curate verify` on OUT")


def finish(draft: Path, path: Path) -> None:
    """Move a shard to its path, and note that it is whole."""
    draft.replace(path)
    save_text(_digest_of(path), store.digest_file(path))


def _digest_of(path: Path) -> Path:
    """The file that holds the digest of a finished shard."""
    return path.with_name(f"{path.name}.sha256")


def is_finished(path: Path) -> bool:
    """Whether a shard of an earlier attempt is whole and as it was written."""
    try:
        return _digest_of(path).read_text(encoding="utf-8") == store.digest_file(path)
    except (OSError, UnicodeDecodeError):
        return False
