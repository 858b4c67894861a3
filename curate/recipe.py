"""The recipe of a run: every option that can change an output, frozen and hashable."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol, Self

from curate.core.entries import Scalar
from curate.core.errors import UsageError, suggest

VERSION = 3
"""1: before the detector ``fusion``; 2: before its network of 8-bit integers."""
PROFILES = ("fast", "balanced", "thorough")
"""``balanced`` and ``fast`` skip the full pass on most photos: of 147 held-out photos in which it
finds a face, they lose 0 (0.0–2.5 %) and 6 (1.9–8.6 %). ``thorough`` skips nothing."""
FACES_MATCHES = ("exact", "suffix")
_NAMES = ("keep_metadata", "include", "drop_keys")


class Options(Protocol):
    """What a long run needs of its options, whatever the job."""

    @property
    def device(self) -> str:
        """``cpu`` or ``cuda``."""
        ...

    @property
    def digest(self) -> str:
        """SHA-256 of the options' canonical JSON, in hexadecimal."""
        ...

    def shard_size_for(self, images: int) -> int:
        """Images per shard of a dataset with this number of images."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a run does to a dataset; runs with equal recipes write equal bytes.

    It has nothing about the host: no path, no clock, no number of workers.

    Args:
        version: version of detection and obfuscation; raised when equal recipes give other
            bytes than in an earlier release.
        detector: a registered name, or None for the profile's own.
        detector_family: output format of the network in the weights file, for the
            detector ``onnx``, or None.
        weights_sha256: digest of the user's weights file, or None.
        profile: ``fast``, ``balanced`` or ``thorough``.
        confidence: minimum confidence of a detection, 0..1, or None for the detector's default.
        max_side: maximum length of an image's longer side at the network's input, pixels,
            or None for the profile's default.
        device: ``cpu`` or ``cuda``; results of the two agree within a tolerance.
        method: a registered obfuscation method.
        method_options: the method's options, as sorted pairs.
        margin: growth of a face on every side, as a share of its longer side, or
            None for the method's default.
        faces_sha256: digest of the file of given faces, or None if faces are detected.
        faces_match: how ids in that file are matched with images: ``exact``, or
            ``suffix`` if an id may be the end of an image's path.
        keep_metadata: groups of metadata tags to keep, sorted.
        include: patterns of files beside the images that are copied unread, sorted.
        drop_keys: kinds of content, and keys, that are dropped from annotations, sorted.
        max_pixels: images with more pixels, over all frames, are withheld.
        shard_size: images per shard and manifest part, or None to choose it from the number
            of images.
        seed: random seed; no detector or method is random yet, so it only selects the
            samples of a dry run and of a replay.

    Raises:
        UsageError: if a value is out of range.
    """

    version: int = VERSION
    detector: str | None = None
    detector_family: str | None = None
    weights_sha256: str | None = None
    profile: str = "balanced"
    confidence: float | None = None
    max_side: int | None = None
    device: str = "cpu"
    method: str = "diffuse"
    method_options: tuple[tuple[str, Scalar], ...] = ()
    margin: float | None = None
    faces_sha256: str | None = None
    faces_match: str = "exact"
    keep_metadata: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    drop_keys: tuple[str, ...] = ("embeddings", "exif")
    max_pixels: int = 200_000_000
    shard_size: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, fits in _TYPES.items():
            if not fits(getattr(self, name)):
                raise UsageError(f"recipe key {name!r} cannot be {getattr(self, name)!r}")
        object.__setattr__(self, "method_options", tuple(sorted(self.method_options)))
        for name in _NAMES:
            object.__setattr__(self, name, tuple(sorted(set(getattr(self, name)))))
        for name in ("confidence", "margin"):  # 1 and 1.0 are one recipe, with one digest
            if getattr(self, name) is not None:
                object.__setattr__(self, name, float(getattr(self, name)))
        _require(self.version == VERSION, "version", self.version, f"{VERSION}, this release's")
        _require(self.profile in PROFILES, "profile", self.profile, " or ".join(PROFILES))
        _require(self.device in ("cpu", "cuda"), "device", self.device, "cpu or cuda")
        _require(
            self.faces_match in FACES_MATCHES,
            "faces-match", self.faces_match, " or ".join(FACES_MATCHES),
        )  # fmt: skip
        _require(
            self.confidence is None or 0 < self.confidence < 1,
            "confidence", self.confidence, "a number between 0 and 1",
        )  # fmt: skip
        _require(
            self.max_side is None or 32 <= self.max_side <= 16_384,
            "max-side", self.max_side, "32 to 16384 pixels",
        )  # fmt: skip
        _require(self.margin is None or 0 <= self.margin <= 2, "margin", self.margin, "0 to 2")
        _require(
            self.shard_size is None or 1 <= self.shard_size <= 1_000_000,
            "shard-size", self.shard_size, "1 to 1000000 images",
        )  # fmt: skip
        _require(
            1 <= self.max_pixels <= 10**12, "max-pixels", self.max_pixels, "1 to 1000000000000"
        )
        _require(0 <= self.seed < 2**63, "seed", self.seed, "0 or more, below 2^63")

    @property
    def digest(self) -> str:
        """SHA-256 of the recipe's canonical JSON, in hexadecimal."""
        return hashlib.sha256(format_json(self.to_dict()).encode()).hexdigest()

    def shard_size_for(self, images: int) -> int:
        """Images per shard: as given, or chosen from the number of images alone.

        Args:
            images: number of images of the dataset.
        """
        return self.shard_size or shard_size_of(images)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON or TOML."""
        plain = asdict(self)
        plain["method_options"] = dict(self.method_options)
        plain |= {name: list(getattr(self, name)) for name in _NAMES}
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build a recipe from plain values; absent keys have their defaults.

        Raises:
            UsageError: if a key is unknown or a value has the wrong type.
        """
        plain = {key.replace("-", "_"): value for key, value in values.items()}
        known = {field.name: field.type for field in fields(cls)}
        for key, value in plain.items():
            if key not in known:
                raise UsageError(f"unknown recipe key {key!r}{_suggest(key, known)}")
            if key == "method_options" and isinstance(value, Mapping):
                plain[key] = tuple(value.items())
            elif key in _NAMES and isinstance(value, list):
                plain[key] = tuple(value)
        return cls(**plain)


def shard_size_of(images: int) -> int:
    """Default number of images per shard: about 64 shards of 8 to 256 images."""
    return min(max(images // 64, 8), 256)


def draw_order(name: str, seed: int) -> bytes:
    """Sort key of a random order of names: whether one is drawn depends on its name only."""
    return hashlib.sha256(f"{seed} {name}".encode()).digest()


def format_json(value: Any) -> str:
    """Return canonical JSON: sorted keys, no spaces, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def _suggest(key: str, known: Iterable[str]) -> str:
    known = list(known)
    return suggest(key, known) or f"; choose one of: {', '.join(known)}"


def _require(valid: bool, name: str, value: object, wanted: str) -> None:
    if not valid:
        raise UsageError(f"{name} cannot be {value!r}; give {wanted}")


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return (isinstance(value, float) and math.isfinite(value)) or _is_int(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_text_or_none(value: Any) -> bool:
    return value is None or _is_text(value)


def _is_options(value: Any) -> bool:
    return isinstance(value, tuple) and all(
        isinstance(pair, tuple)
        and len(pair) == 2
        and _is_text(pair[0])
        and (isinstance(pair[1], (str, bool)) or _is_number(pair[1]))
        for pair in value
    )


_TYPES = {
    "version": _is_int,
    "detector": _is_text_or_none,
    "detector_family": _is_text_or_none,
    "weights_sha256": _is_text_or_none,
    "profile": _is_text,
    "confidence": lambda value: value is None or _is_number(value),
    "max_side": lambda value: value is None or _is_int(value),
    "device": _is_text,
    "method": _is_text,
    "method_options": _is_options,
    "margin": lambda value: value is None or _is_number(value),
    "faces_sha256": _is_text_or_none,
    "faces_match": _is_text,
    **dict.fromkeys(_NAMES, lambda value: isinstance(value, tuple) and all(map(_is_text, value))),
    "max_pixels": _is_int,
    "shard_size": lambda value: value is None or _is_int(value),
    "seed": _is_int,
}
