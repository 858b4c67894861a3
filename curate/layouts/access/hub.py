"""Download datasets of the Hugging Face Hub as Parquet files that contain the images."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from curate.core.errors import CurateError, DataError, SetupError

PREFIX = "hf:"
_ROWS = 100  # per row group, as recommended for the dataset viewer of the Hub
_SHARD_BYTES = 1 << 28
_ORIGIN = "origin.json"
_RESOLVE_S = 10.0
_PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY", "http_proxy")
_SHARD = re.compile(r"(.+)-(\d{5})\.parquet")
_NAMED = re.compile(r"(.+-\d{5})-of-\d{5}\.parquet")


@dataclass(frozen=True, slots=True)
class HubDataset:
    """Name of a dataset that the `datasets` library can load.

    Args:
        name: ``owner/name``, ``owner/name/config``, or a local path that starts with a
            dot or a slash.
        revision: branch, tag or commit; the latest commit if None.
    """

    name: str
    revision: str | None = None


def parse_hub_uri(text: str) -> HubDataset:
    """Parse ``hf:NAME[@REVISION]``.

    Raises:
        DataError: if the name is missing.
    """
    name, _, revision = text.removeprefix(PREFIX).partition("@")
    if not name:
        raise DataError(f"{text!r} names no dataset; use hf:owner/name or hf:owner/name@revision")
    return HubDataset(name, revision or None)


def describe_copying(uri: str) -> str:
    """Return one line that tells how to download ``hf:NAME[@REVISION]``.

    Raises:
        DataError: if the name is missing.
    """
    hub = parse_hub_uri(uri)
    code = (
        "import pathlib; from curate.layouts.access.hub import materialize; "
        f"materialize({hub.name!r}, {hub.revision!r}, pathlib.Path('copy'))"
    )
    return f"download a copy with: python -c {shlex.quote(code)}; then pass copy"


def check_connection() -> None:
    """Refuse to begin where the host of the Hub has no address, as without a network.

    The libraries of the Hub would try again for minutes.

    Raises:
        SetupError: if its name cannot be resolved within 10 seconds.
    """
    is_proxied = any(os.environ.get(name) for name in _PROXIES)
    if is_proxied or os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "ON", "YES", "TRUE"):
        return
    host = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co").hostname or ""
    found = threading.Event()

    def resolve() -> None:
        with suppress(OSError, UnicodeError):
            socket.getaddrinfo(host, None)
            found.set()

    thread = threading.Thread(target=resolve, daemon=True)
    thread.start()
    thread.join(_RESOLVE_S)
    if not found.is_set():
        raise SetupError(
            f"there is no connection to the Hugging Face Hub: {host!r} cannot be resolved; check "
            "the network, or pass the path of a local copy (with HF_HUB_OFFLINE=1 a dataset that "
            "was loaded before is taken from the cache)"
        )


def materialize(name: str, revision: str | None, target: Path) -> None:
    """Download a dataset as ``data/SPLIT-NNNNN-of-NNNNN.parquet``, the layout of the Hub.

    An interrupted download resumes with the unfinished shard. The target appears once it
    is complete; an existing target is kept. Its origin is recorded next to it.

    Args:
        name: see `HubDataset`.
        revision: see `HubDataset`.
        target: folder to create.

    Raises:
        DataError: if the dataset does not exist, cannot be read, or has changed since an
            interrupted attempt.
        SetupError: if the Hub cannot be reached.
    """
    if target.is_dir():
        note = _load_note(target)
        if note is not None and (note["name"], note["revision"]) != (name, revision):
            raise DataError(
                f"{str(target)!r} was created from {note['name']!r}, revision {note['revision']}; "
                "pass the same SOURCE, or choose another OUT"
            )
        return
    partial = target.with_name(f"{target.name}.partial")
    with _explain(name):
        if not _is_local(name):
            check_connection()
        builder = _load_builder(name, revision)
        _take_back_names(partial / "data")
        _begin(partial, {"name": name, "revision": revision, "origin": str(builder.base_path)})
        for split, rows in builder.as_streaming_dataset().items():
            _save_split(str(split), rows, _home_of(builder), partial / "data")
    _finish(partial, target)


def describe_origin(target: Path) -> str | None:
    """Return the ``hf:NAME@REVISION`` of a download, or None if the dataset was local.

    Without an explicit revision it is the commit that was downloaded.
    """
    note = _load_note(target)
    if note is None or not note["origin"].startswith("hf://"):
        return None
    commit = note["origin"].partition("@")[2].partition("/")[0]
    revision = note["revision"] or commit
    return f"{PREFIX}{note['name']}" + (f"@{revision}" if revision else "")


def _note_of(target: Path) -> Path:
    return target.with_name(f"{target.name}.json")


def _load_note(target: Path) -> dict[str, Any] | None:
    try:
        note: dict[str, Any] = json.loads(_note_of(target).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return note


def _load_builder(name: str, revision: str | None) -> Any:
    import datasets
    import huggingface_hub

    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    huggingface_hub.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    parts = [name] if _is_local(name) else name.split("/", 2)
    config = parts[2] if len(parts) == 3 else None
    return datasets.load_dataset_builder("/".join(parts[:2]), config, revision=revision)


def _is_local(name: str) -> bool:
    return name.startswith((".", "/"))


def _home_of(builder: Any) -> str:
    """Return the folder of the files of a dataset."""
    base = str(builder.base_path)
    return base.rstrip("/") if base.startswith("hf://") else os.path.realpath(base)


def _begin(partial: Path, origin: dict[str, Any]) -> None:
    """Record the origin of the data; a download of another commit cannot be resumed."""
    note = partial / _ORIGIN
    if note.exists():
        if json.loads(note.read_text(encoding="utf-8")) != origin:
            raise DataError(
                f"the dataset has changed since {str(partial)!r} was started; "
                "remove that folder, or pass the revision that it was started with"
            )
        return
    (partial / "data").mkdir(parents=True, exist_ok=True)
    draft = partial / f"{_ORIGIN}.partial"
    draft.write_text(json.dumps(origin, sort_keys=True), encoding="utf-8")
    draft.rename(note)


def _take_back_names(folder: Path) -> None:
    """Undo the final renames of an attempt that was interrupted during them."""
    for path in list(folder.glob("*.parquet")):
        if named := _NAMED.fullmatch(path.name):
            path.rename(path.with_name(f"{named[1]}.parquet"))


def _save_split(split: str, rows: Any, home: str, folder: Path) -> None:
    done = [folder / f"{split}-{number:05d}.parquet" for number in range(_count(split, folder))]
    skipped = sum(pq.read_metadata(path).num_rows for path in done)
    tables = _iter_tables(rows.skip(skipped) if skipped else rows, home)
    for number in itertools.count(len(done)):
        path = folder / f"{split}-{number:05d}.parquet"
        if not _save_shard(tables, path):
            return


def _count(split: str, folder: Path) -> int:
    found = (_SHARD.fullmatch(path.name) for path in folder.iterdir())
    return sum(match is not None and match.group(1) == split for match in found)


def _iter_tables(rows: Any, home: str) -> Iterator[Any]:
    """Iterate over Arrow tables of a few rows that contain the bytes of their images."""
    from datasets import Image

    features = rows.features
    if features is None:
        raise DataError("the dataset has no features, so its image columns are unknown")
    images = [name for name, feature in features.items() if isinstance(feature, Image)]
    # Row by row: read as Arrow, samples of tar files come with their columns in two orders.
    stream = iter(rows.decode(False))
    while batch := list(itertools.islice(stream, _ROWS)):
        taken = [{**row, **{name: _take_in(row[name], home) for name in images}} for row in batch]
        encoded = [features.encode_example(row) for row in taken]
        yield pa.Table.from_pylist(encoded, schema=features.arrow_schema)


def _take_in(image: dict[str, Any] | None, home: str) -> dict[str, Any] | None:
    """Return an image with its bytes, if it is a file of the dataset itself.

    A table could name any local file; such an image remains a path.
    """
    path = (image or {}).get("path")
    if image is None or path is None or image.get("bytes") is not None:
        return image
    file = path.rpartition("::")[2]
    if not home.startswith("hf://"):
        file = os.path.realpath(file)
    if not file.startswith(f"{home}/") or ".." in file.split("/"):
        return image
    import fsspec

    with fsspec.open(path, "rb") as stream:
        return {"bytes": stream.read(), "path": path.partition("::")[0].rpartition("/")[2]}


def _save_shard(tables: Iterator[Any], path: Path) -> bool:
    """Write one shard; returns whether there were rows left to write."""
    first = next(tables, None)
    if first is None:
        return False
    draft = path.with_name(f"{path.name}.partial")
    size = 0
    with pq.ParquetWriter(draft, first.schema, write_batch_size=64) as writer:
        for table in itertools.chain([first], tables):
            writer.write_table(table)
            size += table.nbytes
            if size >= _SHARD_BYTES:
                break
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.rename(path)
    return True


def _finish(partial: Path, target: Path) -> None:
    """Rename the shards to include their count, and move the folder to its target."""
    shards = [match for path in partial.glob("data/*") if (match := _SHARD.fullmatch(path.name))]
    if not shards:
        raise DataError("the dataset has no rows")
    for match in shards:
        split, number = match.groups()
        total = sum(other.group(1) == split for other in shards)
        name = f"{split}-{number}-of-{total:05d}.parquet"
        (partial / "data" / match.string).rename(partial / "data" / name)
    shutil.copyfile(partial / _ORIGIN, _note_of(target))
    (partial / _ORIGIN).unlink()
    partial.rename(target)


@contextmanager
def _explain(name: str) -> Iterator[None]:
    """Convert exceptions of the libraries to one clear line.

    Raises:
        SetupError: if the Hub cannot be reached.
        DataError: if the dataset cannot be loaded.
    """
    try:
        yield
    except (CurateError, MemoryError):
        raise
    except Exception as error:
        line = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        if _is_unreachable(error):
            raise SetupError(
                f"cannot reach the Hugging Face Hub for {name!r} ({line}); check the network, "
                "and that HF_HUB_OFFLINE is not set, and run the same command again to resume"
            ) from error
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise DataError(
            f"the dataset {name!r} cannot be loaded ({line}); check its name, its revision, "
            "and for a gated or private one that you are logged in (hf auth login)"
        ) from error


def _is_unreachable(error: BaseException) -> bool:
    """Return whether an error, or one of its causes, is a network error."""
    names = {"OfflineModeIsEnabled", "ConnectError", "ConnectTimeout", "ReadTimeout"}
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ConnectionError | TimeoutError) or type(seen).__name__ in names:
            return True
        seen = seen.__cause__ or seen.__context__
    return False
