"""Differences of recipes, and of the libraries of two runs, in words."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from curate.recipe import Options

OF_FACES = (
    "detector", "detector_family", "weights_sha256", "profile", "confidence", "max_side", "device",
    "faces_sha256", "faces_match",
)  # fmt: skip
"""Keys of a recipe that say how faces were found; given faces replace all of that."""

_MAX_SHOWN = 500  # characters of values of an earlier run in a message


def describe_changes(before: dict[str, str], now: dict[str, str]) -> str:
    """Describe the differences between versions of libraries in one line."""
    text = ", ".join(
        f"{name} {before.get(name, 'absent')} → {now.get(name, 'absent')}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    )
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def describe_recipe_clash(
    out: Path | str, before: dict[str, Any], now: Options, what: str = "OUT", updates: bool = False
) -> str:
    """Describe how a recipe differs from the recipe of an existing output in one line."""
    wanted = now.to_dict()
    keys = [key for key in wanted if wanted[key] != before.get(key)]
    changes = ", ".join(_describe_change(key, before.get(key), wanted[key]) for key in keys)
    of_faces = updates and wanted.get("faces_sha256") and {*keys} <= {*OF_FACES}
    remedy = "add --update to apply these faces to it" if of_faces else "use the same options"
    digest = hashlib.sha256(
        json.dumps(before, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    ).hexdigest()
    return (
        f"{out} was begun with another recipe ({changes}; {digest[:12]} → {now.digest[:12]}); "
        f"{remedy}, or choose another {what}"
    )


def _describe_change(key: str, before: Any, now: Any) -> str:
    """A change of an option; of a file, whether it was given and is another."""
    option = key.removesuffix("_sha256")
    if option == key:
        return f"{key} {_show(before)} → {_show(now)}"
    return f"--{option} {_show_file(before)} → {_show_file(now)}"


def _show_file(digest: Any) -> str:
    return "not given" if digest is None else f"a file with SHA-256 {str(digest)[:12]}…"


def _show(value: Any) -> str:
    """A value of a recipe; the first digits of a digest."""
    text = re.sub(r"\b([0-9a-f]{12})[0-9a-f]{52}\b", r"\1…", repr(value))
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
