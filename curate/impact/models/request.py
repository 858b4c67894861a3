"""Specification of a model, and digests of its weights files."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from curate.core.errors import UsageError, WeightsError
from curate.storage.regular import open_regular

_SETTING = re.compile(r",(?=[A-Za-z_]+=)")


@dataclass(frozen=True, slots=True)
class Request:
    """A parsed specification.

    Args:
        spec: as the user wrote it.
        kind: kind of model.
        what: a file or name; empty where there is only one.
        settings: stated preprocessing, text by key.
        device: ``cpu`` or ``cuda``.
    """

    spec: str
    kind: str
    what: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"

    @property
    def public_spec(self) -> str:
        """The specification without folders, for reports."""
        what = Path(self.what).name if is_path(self.what) else self.what
        settings = [f"{key}={value}" for key, value in self.settings.items()]
        return ",".join([f"{self.kind}:{what}" if what else self.kind, *settings])

    def refuse_settings(self) -> None:
        """Refuse preprocessing settings for a model that defines its own.

        Raises:
            UsageError: if any is stated.
        """
        if self.settings:
            raise UsageError(
                f"the model {self.kind!r} defines its own preprocessing; "
                f"leave out {', '.join(self.settings)}"
            )


def parse_request(spec: str, device: str = "cpu") -> Request:
    """Parse a specification, ``KIND[:NAME][,key=value …]``.

    Raises:
        UsageError: if a key is duplicated.
    """
    name, *parts = _SETTING.split(spec)
    kind, _, what = name.partition(":")
    settings: dict[str, str] = {}
    for part in parts:
        key, _, value = part.partition("=")
        if key in settings:
            raise UsageError(f"the model {spec!r} states {key} twice")
        settings[key] = value
    return Request(spec, kind, what, settings, device)


def is_path(what: str) -> bool:
    """Return whether a name is a path on this machine."""
    return what.startswith((".", "/", "~")) or Path(what).exists()


def digest_weights(path: Path, max_bytes: int = 16 << 30) -> str:
    """Return the SHA-256 of a file, hexadecimal.

    Raises:
        WeightsError: if it cannot be read, or is larger.
    """
    try:
        with open_regular(path, follow_links=True) as file:
            if os.fstat(file.fileno()).st_size > max_bytes:
                raise WeightsError(
                    f"the model {path} is larger than {max_bytes >> 30} GB, which is too large; "
                    "give another file"
                )
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(
            f"cannot read the model {path}: {error.strerror}; give the path of an existing file"
        ) from None
