"""What annotations contain that can identify people: kinds, keys and counts by file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from curate.core.errors import UsageError, suggest

_WORDS = {
    "exif": "exif xmp makernote",
    "gps": "gps latitude longitude lat lon lng geo geotag geolocation",
    "embeddings": "embedding embeddings",
    "landmarks": "landmark landmarks keypoint keypoints kpt kpts joints",
    "urls": "url urls uri uris link links href",
    "hashes": "sha sha1 sha256 sha512 md5 hash phash dhash digest checksum",
    "names": "person persons people author authors photographer user username owner identity "
    "celebrity contact email mail artist creator creators contributor contributors uploader "
    "nickname firstname lastname surname workspace annotator annotators labeler labelers reviewer "
    "reviewers credit credits byline",
    "text": "caption captions text texts title description comment comments note notes sentence "
    "sentences question answer raw",
}
KINDS: Mapping[str, frozenset[str]] = {kind: frozenset(t.split()) for kind, t in _WORDS.items()}
"""What keys of annotations suggest about people, by the words of a key."""

DROPPED_KINDS = ("embeddings", "exif")
"""Kinds that are dropped by default."""

_KEY = "key:"  # before a word of --drop-keys that is a key in any case

MAX_KEY = 128
"""Characters of a key."""

_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+\d*|[A-Z]+\d*|\d+")
_EXIF_TAG = re.compile(
    r"GPS[A-Z]\w+|(?:EXIF|Exif|MakerNote|Interop)[ :]\w.*"
    r"|(?:Image|Thumbnail)[ :](?:Make|Model|Artist|Copyright|Software|HostComputer|ImageDescription"
    r"|DateTime\w*|Orientation|[XY]Resolution|ResolutionUnit|YCbCrPositioning|ExifOffset|GPSInfo"
    r"|Compression|JPEGInterchangeFormat\w*|XP\w+)"
    r"|(?:[Bb]ody|[Cc]amera|[Ll]ens|[Ii]nternal)_?[Ss]erial_?[Nn]umber|SerialNumber"
    r"|(?:Camera)?OwnerName|camera_owner_name|Lens(?:Make|Model|Info|Specification)"
    r"|ImageUniqueID|UserComment|MakerNotes?"
)
"""Keys of EXIF tags, as EXIF readers write them; words such as camera and lens alone are
ordinary attributes of an image."""
URL = re.compile(r"(?:https?|ftp|s3|gs|hf)://[^\s\"'<>]+")
EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")
DIGEST = re.compile(
    r"(?<![0-9a-z])(?:[0-9a-f]{64}|[0-9a-f]{40}|[0-9a-f]{32})(?![0-9a-z])", re.IGNORECASE
)


@lru_cache(1 << 14)
def words_of(key: str) -> frozenset[str]:
    """Return the words of a key in lower case, such as gps and latitude of GPSLatitude."""
    return frozenset(word.lower() for word in _WORD.findall(key[:MAX_KEY]))


@lru_cache(1 << 14)
def kinds_of_key(key: str) -> tuple[str, ...]:
    """Return what a key suggests, of `KINDS`; GPSLatitude is both EXIF data and a place."""
    words = words_of(key)
    kinds = tuple(kind for kind, known in KINDS.items() if words & known)
    return ("exif", *kinds) if _EXIF_TAG.fullmatch(key) and "exif" not in kinds else kinds


def parse_drop_keys(words: Sequence[str]) -> list[str]:
    """Return the kinds and keys to drop; ``none`` gives none, ``key:NAME`` is the key NAME.

    Any word that is not a kind is a key, unless it resembles a kind: a misspelled kind would drop
    nothing.

    Raises:
        UsageError: if a word is a misspelled kind, or ``none`` has other words beside it.
    """
    words = [word.strip() for word in words if word.strip()]
    if "none" in words:
        if set(words) != {"none"}:
            raise UsageError("--drop-keys none keeps all keys; give either none or what to drop")
        return []
    for word in words:
        if word in KINDS or word.startswith(_KEY):
            continue
        if kinds_of_key(word) and word.lower() not in KINDS:
            continue  # a key, such as caption
        if hint := suggest(word, [*KINDS, "none"]):
            raise UsageError(
                f"--drop-keys: {word!r} is not one of {', '.join(KINDS)}{hint}; for a key of this "
                f"name write {_KEY}{word}"
            )
    return [word.removeprefix(_KEY) for word in words]


def describe_drop_keys(words: Sequence[str] | None, content: Mapping[str, Any]) -> Iterator[str]:
    """Describe what given ``--drop-keys`` did, in a line each; nothing for the default.

    Args:
        words: kinds and keys, as in a recipe; None for the default.
        content: a report that `Content.to_dict` has returned.
    """
    if not words or set(words) == set(DROPPED_KINDS):
        return
    dropped: Counter[str] = Counter()
    for keys in content["dropped"].values():
        dropped.update(keys)
    keys = [word for word in words if word not in KINDS]
    found = [f"{key!r} ({dropped[key]:,} values)" for key in keys if dropped[key]]
    unknown = [repr(key) for key in keys if not dropped[key]]
    if found:
        yield f"--drop-keys dropped {', '.join(found)}"
    if unknown:
        yield f"--drop-keys: the annotations have no key {' and no key '.join(unknown)}"
    present = {kind for kinds in content["found"].values() for kind in kinds}
    if kept := [kind for kind in DROPPED_KINDS if kind not in words and kind in present]:
        yield (
            f"--drop-keys replaces the default: {' and '.join(kept)} are kept; add them to the "
            "list to drop them too"
        )


def matches_pattern(path: str, pattern: str) -> bool:
    """Return whether a pattern of ``--include`` matches the path of a file, or its name."""
    return fnmatchcase(path, pattern) or fnmatchcase(path.rpartition("/")[2], pattern)


def kind_of_key(key: str) -> str | None:
    """Return the first of `kinds_of_key`, or None."""
    return next(iter(kinds_of_key(key)), None)


def kinds_of_text(value: str) -> tuple[str, ...]:
    """Return what a text is or contains whatever its key: links, addresses, a digest, words."""
    kinds = []
    if "://" in value and URL.search(value):
        kinds.append("urls")
    if "@" in value and EMAIL.search(value):
        kinds.append("names")
    if len(value) in (32, 40, 64) and DIGEST.fullmatch(value):
        kinds.append("hashes")
    if len(value) > 40 and value.count(" ") > 5:
        kinds.append("text")
    return tuple(kinds)


IMAGE_NAMES = "names of images"
"""What the paths of images are counted under, in place of a file."""


def kinds_of_path(path: str) -> tuple[str, ...]:
    """Return what the path of an image contains: a digest, or an e-mail address.

    Many datasets name images by the MD5, SHA-1 or SHA-256 of their source.
    """
    kinds = []
    if DIGEST.search(path):
        kinds.append("hashes")
    if "@" in path and EMAIL.search(path):
        kinds.append("names")
    return tuple(kinds)


_MAX_FILES = 64
_MAX_KEYS = 1000


class Content:
    """Counts of values by file, kind and key, and of dropped values by file and key.

    Up to 64 files are listed one by one; of more files, those of a folder with one suffix are
    counted together, so that the report of a million label files remains short. The report has
    the first 1,000 entries in the order of files, kinds and keys.
    """

    def __init__(self) -> None:
        self._found: dict[str, Counter[tuple[str, str]]] = {}
        self._dropped: dict[str, Counter[tuple[str, str]]] = {}
        self._count_dropped = 0
        self._files: dict[str, None] = {}
        self._level = 0

    def open(self, file: str) -> None:
        """Count a file, whether or not anything is found in it."""
        self._group(file)

    def add(self, file: str, kind: str, key: str, count: int = 1) -> None:
        """Count values that were kept."""
        _add(self._found, self._group(file), (kind, key), count)

    def add_path(self, path: str) -> None:
        """Count what the path of an image contains."""
        for kind in kinds_of_path(path):
            _add(self._found, IMAGE_NAMES, (kind, "path"), 1)

    def add_dropped(self, file: str, key: str, count: int = 1) -> None:
        """Count values that were dropped."""
        self._count_dropped += count
        _add(self._dropped, self._group(file), ("", key), count)

    def count_dropped(self) -> int:
        """Return the number of dropped values."""
        return self._count_dropped

    def merge(self, other: Mapping[str, Any]) -> None:
        """Add a report that `to_dict` has returned."""
        for file, kinds in other["found"].items():
            group = IMAGE_NAMES if file == IMAGE_NAMES else self._group(file)
            for kind, keys in kinds.items():
                for key, count in keys.items():
                    _add(self._found, group, (kind, key), count)
        for file, keys in other["dropped"].items():
            for key, count in keys.items():
                self.add_dropped(file, key, count)

    def kinds(self) -> dict[str, dict[str, int]]:
        """Return the counts of values that were kept, by kind and key over all files."""
        kinds: dict[str, Counter[str]] = {}
        for _, kind, key, count in _iter_smallest(self._found):
            kinds.setdefault(kind, Counter())[key] += count
        return {kind: dict(sorted(keys.items())) for kind, keys in sorted(kinds.items())}

    def to_dict(self) -> dict[str, Any]:
        """Return plain values: ``found`` by file, kind and key; ``dropped`` by file and key."""
        found: dict[str, dict[str, dict[str, int]]] = {}
        for file, kind, key, count in _iter_smallest(self._found):
            found.setdefault(file, {}).setdefault(kind, {})[key] = count
        dropped: dict[str, dict[str, int]] = {}
        for file, _, key, count in _iter_smallest(self._dropped):
            dropped.setdefault(file, {})[key] = count
        return {"found": found, "dropped": dropped}

    def _group(self, file: str) -> str:
        """Return the name under which a file is counted."""
        name = _shorten(file, self._level)
        if name not in self._files:
            self._files[name] = None
            while len(self._files) > _MAX_FILES and self._level < 2:
                self._level += 1
                self._regroup()
            name = _shorten(file, self._level)
        return name

    def _regroup(self) -> None:
        level = self._level
        for counts in (self._found, self._dropped):
            before = dict(counts)
            counts.clear()
            for file, keys in before.items():
                if file == IMAGE_NAMES:
                    counts[file] = keys
                    continue
                for key, count in keys.items():
                    _add(counts, _shorten(file, level), key, count)
        self._files = dict.fromkeys(_shorten(file, level) for file in self._files)


def _add(
    counts: dict[str, Counter[tuple[str, str]]], file: str, key: tuple[str, str], count: int
) -> None:
    """Count values of a file, of which the smallest keys are kept in whatever order they come.

    A key that is among the smallest at the end is so at any time before: its count is exact.
    """
    keys = counts.setdefault(file, Counter())
    keys[key] += count
    if len(keys) > 2 * _MAX_KEYS:
        counts[file] = Counter(dict(sorted(keys.items())[:_MAX_KEYS]))


def _iter_smallest(
    counts: Mapping[str, Counter[tuple[str, str]]],
) -> Iterator[tuple[str, str, str, int]]:
    """Iterate over the smallest files, kinds and keys, with their counts."""
    rows = (
        (file, *key, keys[key]) for file, keys in sorted(counts.items()) for key in sorted(keys)
    )
    return islice(rows, _MAX_KEYS)


def _shorten(file: str, level: int) -> str:
    path = PurePosixPath(file)
    if not level:
        return file
    return str(path.parent / f"*{path.suffix}") if level == 1 else f"*{path.suffix}"
