"""Folders on remote storages supported by fsspec, opened for reading only."""

from __future__ import annotations

import errno
import io
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, BinaryIO, TypeVar

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
from curate.layouts.access.folder import MAX_IMAGE, FileInfo, check_image_size
from curate.layouts.access.tree import TOOL_FOLDERS, is_tool_path

_DIGESTS = ("ETag", "etag", "md5Hash", "content_md5", "blob_id")
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "created")
_MAX_NAME = 255  # bytes, the limit of file systems
_AHEAD = 1 << 20  # bytes fetched at a time of a file that is read piece by piece
_ATTEMPTS, _FIRST_PAUSE_S = 4, 0.2
_PATIENCE_S = 10.0
"""No attempt begins later than this; a client may itself try again for long."""

T = TypeVar("T")


class RemoteFolder:
    """Folder on a remote storage.

    Names, sizes and stamps of the folders on the path to the current file are held in
    memory, since storages list whole folders; nothing else grows with the dataset.
    Credentials come from the configuration of the protocol and are never read.

    Args:
        uri: for example ``s3://bucket/photos``.
        name: name in messages.
        is_listed: whether the folder itself must exist; False where only named files in
            it are read, which some storages allow without listing.
        skip: names of folders that are not listed.

    Raises:
        UsageError: if the URI is invalid.
        DataError: if it is not a folder.
        SetupError: if the storage does not respond, or its package is missing.
    """

    def __init__(
        self,
        uri: str,
        name: str = "SOURCE",
        is_listed: bool = True,
        skip: frozenset[str] = TOOL_FOLDERS,
    ) -> None:
        self.name = name
        self._skip = skip
        self._storage, self._root = connect(uri, name)
        self.uri = uri.rstrip("/")
        self.follow_links = False  # object storage has no links
        self._last: FileInfo | None = None
        if is_listed and self._kind_of_root() != "directory":
            raise DataError(f"{name} {uri!r} is not a folder")

    def files(self) -> Iterator[FileInfo]:
        """Iterate over all files, streaming, sorted by the bytes of their paths."""
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

    def list_names(self, path: str = "") -> frozenset[str]:
        """Return the names in a subfolder, folders with a trailing ``/``; empty if missing."""
        try:
            return frozenset(
                f"{name}/" if details["type"] == "directory" else name
                for name, details in self._entries(path.rstrip("/"))
            )
        except SourceChangedError:
            return frozenset()

    def info(self, path: str) -> FileInfo | None:
        """Return a file, or None if it does not exist."""
        if self._last is not None and self._last.path == path:
            return self._last  # just listed: another request per image would take hours
        if not _is_path(path) or is_tool_path(path):
            return None
        try:
            with self._translated_errors(path, "accessed"):
                details = retry(lambda: self._storage.info(self._full(path)))
        except SourceChangedError:
            return None
        return None if details["type"] == "directory" else self._info_of(path, details)

    def open(self, path: str) -> BinaryIO:
        """Open a file for reading; see `Folder.open`."""
        _check_path(path)
        info = self.info(path)
        if info is None:
            raise self._gone(path)
        return io.BufferedReader(_RemoteFile(self, info), _AHEAD)

    def read(self, path: str) -> bytes:
        """Return the content of a file; see `Folder.read`."""
        _check_path(path)
        if self._last is not None and self._last.path == path:
            check_image_size(self._last.size)
        with self._translated_errors(path, "read"):
            data = retry(lambda: self._read_start(self._full(path), MAX_IMAGE + 1))
        check_image_size(len(data))
        return data

    def _read_start(self, full: str, size: int) -> bytes:
        """Return at most ``size`` bytes from the start of a file."""
        try:
            return bytes(self._storage.cat_file(full, start=0, end=size))
        except (PermissionError, FileNotFoundError, NotADirectoryError, IsADirectoryError):
            raise
        except Exception:
            if self._storage.info(full).get("size") == 0:
                return b""  # object storages have no range of an empty file
            raise

    def fetch(self, path: str, start: int, end: int) -> bytes:
        """Return a range of bytes of a file, which must exist; raises like `read`."""
        with self._translated_errors(path, "read"):
            full = self._full(path)
            data = retry(lambda: bytes(self._storage.cat_file(full, start=start, end=end)))
        if len(data) != end - start:
            raise SourceChangedError(
                f"{path!r} in {self.name} was truncated while it was read; restore it "
                "and run the same command again to resume"
            )
        return data

    def _list(self, path: str) -> list[FileInfo | str]:
        """Return the entries of a folder, sorted by whole path; subfolders as paths."""
        entries = self._entries(path)
        files = {name for name, details in entries if details["type"] != "directory"}
        found: list[tuple[bytes, FileInfo | str]] = []
        for name, details in entries:
            inner = f"{path}/{name}" if path else name
            if details["type"] != "directory":
                found.append((inner.encode(), self._info_of(inner, details)))
            elif name in self._skip:
                continue
            elif name in files:
                raise DataError(f"{inner!r} in {self.name} is both a file and a folder; rename one")
            else:
                found.append((f"{inner}/".encode(), inner))
        return [entry for _, entry in sorted(found, key=lambda pair: pair[0])]

    def _entries(self, path: str) -> list[tuple[str, dict[str, Any]]]:
        folder = self._full(path)
        with self._translated_errors(path, "listed"):
            found = retry(lambda: self._storage.ls(folder, detail=True))
            self._storage.invalidate_cache()  # it would grow, and hide changes
        entries = []
        for details in found:
            name = details["name"].removeprefix(f"{folder}/")
            if details["name"].rstrip("/") == folder and details["type"] != "directory":
                continue  # a marker object by which some tools create an empty folder
            name = name.removesuffix("/") if name != "/" else name
            if not _is_name(name):
                raise DataError(
                    f"{details['name']!r} in {self.name} is not a valid file name; rename it"
                )
            entries.append((name, details))
        return entries

    def _info_of(self, path: str, details: dict[str, Any]) -> FileInfo:
        if details.get("size") is None:
            with self._translated_errors(path, "accessed"):
                details = {**details, **self._storage.info(self._full(path))}
        if details.get("size") is None:
            raise SetupError(
                f"{self.uri} does not report the size of {path!r}; copy the dataset to a local disk"
            )
        return FileInfo(path, details["size"], _stamp(details), details["type"] == "file")

    def _kind_of_root(self) -> str | None:
        try:
            with self._translated_errors("", "accessed"):
                return retry(lambda: str(self._storage.info(self._root)["type"]))
        except SourceChangedError:
            return None

    def _full(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    def _gone(self, path: str) -> SourceChangedError:
        return SourceChangedError(
            f"{path!r} was removed from {self.name} during the run; "
            f"restore {self.name} and run the same command again to resume"
        )

    @contextmanager
    def _translated_errors(self, path: str, action: str) -> Iterator[None]:
        """Distinguish errors of one file from errors of the storage.

        Messages of the libraries may contain signed URLs, so they are not repeated.
        """
        try:
            yield
        except (CurateError, MemoryError):
            raise
        except (FileNotFoundError, NotADirectoryError):
            raise self._gone(path) from None
        except (PermissionError, IsADirectoryError) as error:
            if action == "read" and self._is_accessible():
                raise WithheldError("unreadable", cause(error)) from None
            raise self._storage_error(path, action, error) from None
        except Exception as error:
            raise self._storage_error(path, action, error) from None

    def _storage_error(self, path: str, action: str, error: Exception) -> SetupError:
        what = f"{path!r} in {self.uri}" if path else self.uri
        return SetupError(f"{what} cannot be {action}: {cause(error)}; {AGAIN}")

    def _is_accessible(self) -> bool:
        """Return whether the folder itself is accessible; False with expired credentials."""
        try:
            self._storage.info(self._root)
        except Exception:
            return False
        return True


class _RemoteFile(io.RawIOBase):
    """Remote file, read in ranges; no connection is held between reads."""

    def __init__(self, folder: RemoteFolder, info: FileInfo) -> None:
        self._folder = folder
        self._leaf = info
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


def _stamp(details: dict[str, Any]) -> str:
    """Return the size together with a digest or else a modification time."""
    for key in (*_DIGESTS, *_TIMES):
        if value := details.get(key):
            return (
                f"{details['size']}.{value.timestamp() if isinstance(value, datetime) else value}"
            )
    return str(details["size"])


def _is_name(name: str) -> bool:
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return False
    return size <= _MAX_NAME and name not in ("", ".", "..") and not {"/", "\0"} & set(name)


def _is_path(path: str) -> bool:
    return all(map(_is_name, path.split("/"))) and not PurePosixPath(path).is_absolute()


def _check_path(path: str) -> None:
    if not _is_path(path):
        raise WithheldError("name", "its path is not a valid file path")


AGAIN = "fix this and run the same command again to resume"
_EXTRAS = {
    "s3": ("s3fs", "s3"),
    "s3a": ("s3fs", "s3"),
    "gs": ("gcsfs", "gs"),
    "gcs": ("gcsfs", "gs"),
}


def connect(uri: str, name: str) -> tuple[Any, str]:
    """Return the file system of a URI and its path there.

    Args:
        uri: for example ``s3://bucket/photos``.
        name: name in messages.

    Raises:
        UsageError: if the URI is invalid.
        SetupError: if it cannot be opened, or a package is missing.
    """
    protocol, _ = parse_address(uri, name)
    import fsspec

    if protocol not in fsspec.available_protocols():
        raise UsageError(f"{name} {uri!r} has an unknown protocol; use for example s3, gs or hf")
    try:
        storage, root = fsspec.core.url_to_fs(uri)
    except ImportError as error:
        if protocol in _EXTRAS:
            raise MissingExtraError(f"{name} {uri!r}", *_EXTRAS[protocol]) from error
        raise SetupError(
            f"{name} {uri!r} needs a package that is not installed; see fsspec's list "
            f"of protocols for the one of {protocol}://"
        ) from error
    except Exception as error:
        raise SetupError(f"{name} {uri!r} cannot be opened: {cause(error)}; {AGAIN}") from None
    return storage, str(root).rstrip("/")


def retry(do: Callable[[], T]) -> T:
    """Call a storage, again after a broken connection, up to four times in all.

    A storage that does not answer for 10 seconds is not asked again.

    An answer such as that a file does not exist, or that access is denied, is not asked for again.
    """
    began = time.monotonic()
    for attempt in range(_ATTEMPTS - 1):
        try:
            return do()
        except (CurateError, MemoryError, PermissionError, FileNotFoundError):
            raise
        except (NotADirectoryError, IsADirectoryError):
            raise
        except Exception:
            if time.monotonic() - began > _PATIENCE_S:
                raise
            time.sleep(_FIRST_PAUSE_S * 2**attempt)
    return do()


def cause(error: Exception) -> str:
    """Describe an error without the message of the library, which may contain a signed URL."""
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, PermissionError):  # those of an object storage may have no number
        number = number or errno.EACCES
    return os.strerror(number) if number is not None else type(error).__name__
