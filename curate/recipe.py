"""Every option that can change an output, frozen and hashable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from curate.core.errors import UsageError
from curate.core.transforms import Scalar

PROFILES = ("fast", "balanced", "thorough")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a run does to a dataset; two runs with equal recipes give equal bytes.

    Nothing about the host stands here: no path, no clock, no number of workers.

    Args:
        detector: a registered name, or None for the profile's own.
        weights_sha256: digest of the weights file that the user brought, or None.
        profile: ``fast``, ``balanced`` or ``thorough``.
        confidence: lowest confidence of a claim, 0..1, or None for the detector's own.
        max_side: longest side shown to the network, pixels, or None for the profile's own.
        device: ``cpu`` or ``cuda``; the two agree within a tolerance, not to the bit.
        method: a registered obfuscation method.
        method_options: the method's options, as sorted pairs.
        margin: growth of a face on every side, as a share of its longer side, or
            None for the method's own.
        faces_sha256: digest of the file that gave the faces, or None if detected.
        keep_metadata: groups of tags that are rebuilt in the outputs, sorted.
        max_pixels: images with more pixels, over all frames, are withheld.
        shard_size: images per unit of work and per manifest part, or None for a size
            that follows from the number of images.
        seed: seed of every random draw.

    Raises:
        UsageError: if a value is out of range.
    """

    detector: str | None = None
    weights_sha256: str | None = None
    profile: str = "balanced"
    confidence: float | None = None
    max_side: int | None = None
    device: str = "cpu"
    method: str = "diffuse"
    method_options: tuple[tuple[str, Scalar], ...] = ()
    margin: float | None = None
    faces_sha256: str | None = None
    keep_metadata: tuple[str, ...] = ()
    max_pixels: int = 200_000_000
    shard_size: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        _require(self.profile in PROFILES, "profile", self.profile, " or ".join(PROFILES))
        _require(self.device in ("cpu", "cuda"), "device", self.device, "cpu or cuda")
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
            self.shard_size is None or self.shard_size >= 1,
            "shard-size",
            self.shard_size,
            "1 or more",
        )
        _require(self.max_pixels >= 1, "max-pixels", self.max_pixels, "1 or more")

    @property
    def digest(self) -> str:
        """SHA-256 of the recipe's canonical JSON, in hexadecimal."""
        return hashlib.sha256(format_json(self.to_dict()).encode()).hexdigest()

    def shard_size_for(self, images: int) -> int:
        """Images per shard: as stated or, by default, enough shards to share out, but not too many.

        Follows from the dataset alone, never from the number of workers.

        Args:
            images: how many images the dataset has.
        """
        return self.shard_size or min(max(images // 64, 8), 256)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON or TOML."""
        plain = asdict(self)
        plain["method_options"] = dict(self.method_options)
        plain["keep_metadata"] = list(self.keep_metadata)
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build a recipe from plain values; keys that are absent keep their defaults.

        Raises:
            UsageError: if a key is unknown or a value has the wrong type.
        """
        plain = {key.replace("-", "_"): value for key, value in values.items()}
        known = {field.name: field.type for field in fields(cls)}
        for key, value in plain.items():
            if key not in known:
                raise UsageError(f"unknown recipe key {key!r}; known: {', '.join(known)}")
            if not _TYPES[key](value):
                raise UsageError(f"recipe key {key!r} cannot be {value!r}")
        if "method_options" in plain:
            plain["method_options"] = tuple(sorted(plain["method_options"].items()))
        if "keep_metadata" in plain:
            plain["keep_metadata"] = tuple(sorted(set(plain["keep_metadata"])))
        return cls(**plain)


def format_json(value: Any) -> str:
    """Canonical JSON: sorted keys, no spaces, no NaN."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )


def _require(valid: bool, name: str, value: object, wanted: str) -> None:
    if not valid:
        raise UsageError(f"{name} cannot be {value!r}; give {wanted}")


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or _is_int(value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_text_or_none(value: Any) -> bool:
    return value is None or _is_text(value)


def _is_options(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        _is_text(key) and isinstance(item, (str, int, float, bool)) for key, item in value.items()
    )


_TYPES = {
    "detector": _is_text_or_none,
    "weights_sha256": _is_text_or_none,
    "profile": _is_text,
    "confidence": lambda value: value is None or _is_number(value),
    "max_side": lambda value: value is None or _is_int(value),
    "device": _is_text,
    "method": _is_text,
    "method_options": _is_options,
    "margin": lambda value: value is None or _is_number(value),
    "faces_sha256": _is_text_or_none,
    "keep_metadata": lambda value: isinstance(value, (list, tuple)) and all(map(_is_text, value)),
    "max_pixels": _is_int,
    "shard_size": lambda value: value is None or _is_int(value),
    "seed": _is_int,
}
