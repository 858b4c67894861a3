"""A tree of files on a storage that fsspec knows, opened for reading only."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from curate.core.errors import (
    CurateError,
    DataError,
    MissingExtraError,
    SetupError,
    SourceChangedError,
    UsageError,
    WithheldError,
)
from curate.layouts.access.address import parse_address
from curate.layouts.access.folder import Leaf

_DIGESTS = ("ETag", "etag", "md5Hash", "content_md5", "blob_id")
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "created")
_LONGEST_NAME = 255  # bytes that file systems take
_AHEAD = 1 << 20  # bytes fetched at a time of a file that is read piece by piece


class RemoteFolder:
    """A folder on a remote storage.

    Of every folder on the way to the current file the names, sizes and stamps are
    held, since storages list whole folders; nothing else grows with the dataset.
    Credentials come from the protocol's own settings, and are never looked at.

    Args:
        place: its address, such as ``s3://bucket/photos``.
        name: what messages call it.
        is_listed: whether the folder itself must be there; not where only the
            files in it are asked for, which some storages give without a list.

    Raises:
        UsageError: if the address cannot be used.
        DataError: if it is not a folder.
        SetupError: if the storage does not answer, or its package is missing.
    """

    def __init__(self, place: str, name: str = "SOURCE", is_listed: bool = True) -> None:
        self.name = name
        self._storage, self._root = connect(place, name)
        self.place = place.rstrip("/")
        self._last: Leaf | None = None
        if is_listed and self._kind_of_root() != "directory":
            raise DataError(f"{name} {place!r} is not a folder")

    def leaves(self) -> Iterator[Leaf]:
        """Every file, streaming, in the order of the paths' bytes."""
        stack = [iter(self._list(""))]
        try:
            while stack:
                entry = next(stack[-1], None)
                if entry is None:
                    stack.pop()
                elif isinstance(entry, str):
                    stack.append(iter(self._list(entry)))
                else:
                    self._last = entry
                    yield entry
        finally:
            self._last = None

    def names(self, path: str = "") -> frozenset[str]:
        """Names in one folder of the tree, folders with a trailing ``/``; none if it is absent."""
        try:
            return frozenset(
                f"{name}/" if info["type"] == "directory" else name
                for name, info in self._entries(path.rstrip("/"))
            )
        except SourceChangedError:
            return frozenset()

    def leaf(self, path: str) -> Leaf | None:
        """One file, or None if there is none of that name."""
        if self._last is not None and self._last.path == path:
            return self._last  # listed a moment ago: asking again for every image takes hours
        if not _is_path(path):
            return None
        try:
            with self._explained(path, "looked at"):
                info = self._storage.info(self._full(path))
        except SourceChangedError:
            return None
        return None if info["type"] == "directory" else self._leaf_of(path, info)

    def open(self, path: str) -> BinaryIO:
        """Open one file for reading; raises as the protocol says."""
        _check_path(path)
        leaf = self.leaf(path)
        if leaf is None:
            raise self._gone(path)
        return io.BufferedReader(_RemoteFile(self, leaf), _AHEAD)

    def read(self, path: str) -> bytes:
        """The bytes of one file; raises as the protocol says."""
        _check_path(path)
        with self._explained(path, "read"):
            return bytes(self._storage.cat_file(self._full(path)))

    def fetch(self, path: str, start: int, end: int) -> bytes:
        """Some bytes of one file, all of which it must have; raises as ``read`` does."""
        with self._explained(path, "read"):
            data = bytes(self._storage.cat_file(self._full(path), start=start, end=end))
        if len(data) != end - start:
            raise SourceChangedError(
                f"{path!r} in {self.name} was cut off while it was read; put it back as it was "
                "and run the same command again to go on"
            )
        return data

    def _list(self, path: str) -> list[Leaf | str]:
        """What is in one folder, sorted as whole paths are; folders are their paths."""
        entries = self._entries(path)
        files = {name for name, info in entries if info["type"] != "directory"}
        found: list[tuple[bytes, Leaf | str]] = []
        for name, info in entries:
            inner = f"{path}/{name}" if path else name
            if info["type"] != "directory":
                found.append((inner.encode(), self._leaf_of(inner, info)))
            elif name in files:
                raise DataError(f"{inner!r} in {self.name} is a file and a folder; rename one")
            else:
                found.append((f"{inner}/".encode(), inner))
        return [entry for _, entry in sorted(found, key=lambda pair: pair[0])]

    def _entries(self, path: str) -> list[tuple[str, dict[str, Any]]]:
        folder = self._full(path)
        with self._explained(path, "listed"):
            found = self._storage.ls(folder, detail=True)
            self._storage.invalidate_cache()  # which would grow, and hide what changes
        entries = []
        for info in found:
            name = info["name"].removeprefix(f"{folder}/")
            if info["name"].rstrip("/") == folder and info["type"] != "directory":
                continue  # a marker, by which some tools make an empty folder
            name = name.removesuffix("/") if name != "/" else name
            if not _is_name(name):
                raise DataError(
                    f"{info['name']!r} in {self.name} is no name that a file can have on a disk; "
                    "rename it"
                )
            entries.append((name, info))
        return entries

    def _leaf_of(self, path: str, info: dict[str, Any]) -> Leaf:
        if info.get("size") is None:
            with self._explained(path, "looked at"):
                info = {**info, **self._storage.info(self._full(path))}
        if info.get("size") is None:
            raise SetupError(f"{self.place} does not say how large {path!r} is; copy it to a disk")
        return Leaf(path, info["size"], _stamp(info), info["type"] == "file")

    def _kind_of_root(self) -> str | None:
        try:
            with self._explained("", "looked at"):
                return str(self._storage.info(self._root)["type"])
        except SourceChangedError:
            return None

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    def _gone(self, path: str) -> SourceChangedError:
        return SourceChangedError(
            f"{path!r} is gone from {self.name} since the run began; "
            f"put {self.name} back as it was and run the same command again to go on"
        )

    @contextmanager
    def _explained(self, path: str, deed: str) -> Iterator[None]:
        """Tell one file's trouble from that of the whole storage.

        The libraries' own texts may quote signed addresses, so they are not repeated.
        """
        try:
            yield
        except (CurateError, MemoryError):
            raise
        except (FileNotFoundError, NotADirectoryError):
            raise self._gone(path) from None
        except (PermissionError, IsADirectoryError) as error:
            if deed == "read" and self._answers():
                raise WithheldError("unreadable", cause(error)) from None
            raise self._silent(path, deed, error) from None
        except Exception as error:
            raise self._silent(path, deed, error) from None

    def _silent(self, path: str, deed: str, error: Exception) -> SetupError:
        what = f"{path!r} in {self.place}" if path else self.place
        return SetupError(f"{what} cannot be {deed}: {cause(error)}; {AGAIN}")

    def _answers(self) -> bool:
        """Whether the folder itself can be looked at; not with credentials that have run out."""
        try:
            self._storage.info(self._root)
        except Exception:
            return False
        return True


class _RemoteFile(io.RawIOBase):
    """A file of a remote folder, fetched in pieces; no connection is held in between."""

    def __init__(self, folder: RemoteFolder, leaf: Leaf) -> None:
        self._folder = folder
        self._leaf = leaf
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._leaf.size}[whence]
        if start + offset < 0:
            raise ValueError(f"a file has no byte {start + offset}")
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        size = max(min(len(buffer), self._leaf.size - self._position), 0)
        if size:
            end = self._position + size
            buffer[:size] = self._folder.fetch(self._leaf.path, self._position, end)
            self._position = end
        return size


def _stamp(info: dict[str, Any]) -> str:
    """Size, and what else changes with a file: a digest, or else a time."""
    for key in (*_DIGESTS, *_TIMES):
        if value := info.get(key):
            return f"{info['size']}.{value.timestamp() if isinstance(value, datetime) else value}"
    return str(info["size"])


def _is_name(name: str) -> bool:
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return False
    return size <= _LONGEST_NAME and name not in ("", ".", "..") and not {"/", "\0"} & set(name)


def _is_path(path: str) -> bool:
    return all(map(_is_name, path.split("/"))) and not PurePosixPath(path).is_absolute()


def _check_path(path: str) -> None:
    if not _is_path(path):
        raise WithheldError("name", "its path is none that a file can have on a disk")


AGAIN = "mend that and run the same command again to go on"
_EXTRAS = {
    "s3": ("s3fs", "s3"),
    "s3a": ("s3fs", "s3"),
    "gs": ("gcsfs", "gs"),
    "gcs": ("gcsfs", "gs"),
}


def connect(place: str, name: str) -> tuple[Any, str]:
    """The file system of an address, and the path that it has there.

    Args:
        place: such as ``s3://bucket/photos``.
        name: what messages call it.

    Raises:
        UsageError: if the address cannot be used.
        SetupError: if it cannot be opened, or a package is missing.
    """
    protocol, _ = parse_address(place, name)
    import fsspec

    if protocol not in fsspec.available_protocols():
        raise UsageError(f"{name} {place!r} has an unknown protocol; s3, gs and hf are some")
    try:
        storage, root = fsspec.core.url_to_fs(place)
    except ImportError as error:
        if protocol in _EXTRAS:
            raise MissingExtraError(f"{name} {place!r}", *_EXTRAS[protocol]) from error
        raise SetupError(
            f"{name} {place!r} needs a package that is not installed; see fsspec's list "
            f"of protocols for the one of {protocol}://"
        ) from error
    except Exception as error:
        raise SetupError(f"{name} {place!r} cannot be opened: {cause(error)}; {AGAIN}") from None
    return storage, str(root).rstrip("/")


def cause(error: Exception) -> str:
    """What went wrong, without the library's own text, which may quote a signed address."""
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number is not None else type(error).__name__
