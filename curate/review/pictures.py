"""Images of a dataset as a browser can show them: upright, every frame, of bounded size."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, LifoQueue

from curate import codec
from curate.codec import CodecOptions, Picture
from curate.codec.rgb import encode_for_screen, shrink
from curate.core.errors import DataError
from curate.core.protocols import Source
from curate.core.records import ImageRecord
from curate.manifest.store import digest_bytes
from curate.review.decisions import View

SIDE = 2048
"""Longest side of an image as it is first shown, pixels."""

THUMBNAIL = 288
"""Longest side of an image on the contact sheet, pixels."""

_CACHE_BYTES = 96_000_000
_CACHE_IMAGES = 128


@dataclass(frozen=True, slots=True)
class Shown:
    """One image, ready for the browser.

    Args:
        view: its size, orientation, frames and digest.
        frames: every frame as JPEG, at most `SIDE` pixels long.
        thumbnail: the first frame as JPEG, at most `THUMBNAIL` pixels long.
        stamp: version stamp of the stored bytes when they were read.
    """

    view: View
    frames: tuple[bytes, ...]
    thumbnail: bytes
    stamp: str

    @property
    def size(self) -> int:
        """Bytes of all of it."""
        return len(self.thumbnail) + sum(map(len, self.frames))


class Pictures:
    """Reads, decodes and keeps a bounded number of images; safe to use from several threads.

    Args:
        opener: opens the dataset; called once per thread that reads at the same time.
        patch: changes the decoded frames of an image before they are shown, or None.
    """

    def __init__(
        self,
        opener: Callable[[], Source],
        patch: Callable[[ImageRecord, Picture], Picture] | None = None,
    ) -> None:
        self._opener = opener
        self._patch = patch
        self._sources: LifoQueue[Source] = LifoQueue()
        self._cache: OrderedDict[str, Shown] = OrderedDict()
        self._cached = 0
        self._lock = threading.Lock()

    def show(self, record: ImageRecord) -> Shown:
        """An image as it was stored when it was first read; see `is_current`.

        Raises:
            WithheldError: if it cannot be read or decoded.
            DataError: if it has gone.
        """
        with self._lock:
            if shown := self._cache.get(record.id):
                self._cache.move_to_end(record.id)
                return shown
        picture, digest, stamp = self._load(record)
        count = len(picture.frames)
        view = View(
            width=picture.width, height=picture.height, orientation=picture.orientation,
            frames=count, sha256=digest,
        )  # fmt: skip
        images = (codec.upright_rgb(picture, index) for index in range(count))
        first = shrink(next(images), SIDE)
        rest = (encode_for_screen(shrink(image, SIDE)) for image in images)
        shown = Shown(
            view,
            (encode_for_screen(first), *rest),
            encode_for_screen(shrink(first, THUMBNAIL), 85),
            stamp,
        )
        self._keep(record.id, shown)
        return shown

    def show_full(self, record: ImageRecord, frame: int) -> bytes:
        """One frame as JPEG in its full size, for a closer look.

        Raises:
            WithheldError: if it cannot be read or decoded.
            DataError: if it has gone, or has no such frame.
        """
        picture, _, _ = self._load(record)
        if not 0 <= frame < len(picture.frames):
            raise DataError(f"there is no frame {frame} in {record.id!r}")
        return encode_for_screen(codec.upright_rgb(picture, frame))

    def is_current(self, record: ImageRecord, shown: Shown) -> bool:
        """Whether the stored bytes are still those that were shown.

        Raises:
            WithheldError: if they cannot be read.
            DataError: if the image has gone.
        """
        with self._source() as source:
            if source.stamp(record) == shown.stamp:
                return True
            return digest_bytes(source.read(record)) == shown.view.sha256

    def forget(self, record: ImageRecord) -> None:
        """Drop an image, so that it is read again."""
        with self._lock:
            if shown := self._cache.pop(record.id, None):
                self._cached -= shown.size

    def _load(self, record: ImageRecord) -> tuple[Picture, str, str]:
        with self._source() as source:
            stamp = source.stamp(record)  # before the bytes: a change in between is then seen
            data = source.read(record)
        picture = codec.load(data, CodecOptions())
        if self._patch is not None:
            picture = self._patch(record, picture)
        return picture, digest_bytes(data), stamp

    @contextmanager
    def _source(self) -> Iterator[Source]:
        """A dataset that no other thread reads from meanwhile."""
        try:
            source = self._sources.get_nowait()
        except Empty:  # all are in use
            source = self._opener()
        try:
            yield source
        finally:
            self._sources.put(source)

    def _keep(self, name: str, shown: Shown) -> None:
        with self._lock:
            if name in self._cache:
                return
            self._cache[name] = shown
            self._cached += shown.size
            while len(self._cache) > 1 and (
                self._cached > _CACHE_BYTES or len(self._cache) > _CACHE_IMAGES
            ):
                _, old = self._cache.popitem(last=False)
                self._cached -= old.size
