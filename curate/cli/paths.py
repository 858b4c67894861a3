"""Paths and places of datasets as arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from curate.layouts.access.address import is_address


class _FilledPath(click.Path):
    """A path that is not empty: an unset variable in a script must not mean the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("an empty path is given", param, ctx)
        if isinstance(value, str) and is_address(value):
            self.fail("an address is given, but only SOURCE can be remote", param, ctx)
        return super().convert(value, param, ctx)


class _Place(click.types.StringParamType):
    """A path or an address, as it was typed: a path would lose a slash of ``s3://``."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value == "":
            self.fail("an empty path is given", param, ctx)
        return str(value)


PATH = _FilledPath(path_type=Path)
"""The type of every argument and option that is a path."""

PLACE = _Place()
"""The type of every argument and option that says where a dataset is."""
