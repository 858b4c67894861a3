"""Paths as arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


class _FilledPath(click.Path):
    """A path that is not empty: an unset variable in a script must not mean the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("an empty path is given", param, ctx)
        return super().convert(value, param, ctx)


PATH = _FilledPath(path_type=Path)
"""The type of every argument and option that is a path."""
