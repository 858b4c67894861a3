"""What a user asks for when naming a model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from curate.core.errors import UsageError

_SETTING = re.compile(r",(?=[A-Za-z_]+=)")


@dataclass(frozen=True, slots=True)
class Request:
    """A specification, taken apart.

    Args:
        spec: as the user wrote it.
        kind: which kind of model.
        what: which of them: a file or a name; empty where there is only one.
        settings: the preprocessing that is stated, as text by key.
        device: ``cpu`` or ``cuda``.
    """

    spec: str
    kind: str
    what: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"

    @property
    def public_spec(self) -> str:
        """The specification without folders, which say where its user keeps files."""
        what = Path(self.what).name if is_path(self.what) else self.what
        settings = [f"{key}={value}" for key, value in self.settings.items()]
        return ",".join([f"{self.kind}:{what}" if what else self.kind, *settings])

    def refuse_settings(self) -> None:
        """Refuse to state the preprocessing of a model that brings its own.

        Raises:
            UsageError: if any is stated.
        """
        if self.settings:
            raise UsageError(
                f"the model {self.kind!r} brings its own preprocessing; "
                f"leave out {', '.join(self.settings)}"
            )


def parse_request(spec: str, device: str = "cpu") -> Request:
    """Take a specification apart: ``KIND[:WHAT][,key=value …]``.

    Raises:
        UsageError: if a key comes twice.
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
    """Whether a name is meant as a place on this machine's disk."""
    return what.startswith((".", "/", "~")) or Path(what).exists()
