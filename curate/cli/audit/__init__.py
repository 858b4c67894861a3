"""``curate audit``: who is in a dataset; a file for each of its commands."""

from __future__ import annotations

import importlib

import click

_COMMANDS = ("dataset", "labels", "merge")


class _Audit(click.Group):
    """Takes what is no name of a command for the dataset to audit."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or args[0] not in _COMMANDS:
            args = ["dataset", *args]
        return super().parse_args(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = importlib.import_module(f"curate.cli.audit.{cmd_name}").command
        assert isinstance(found, click.Command)  # noqa: S101 - narrows the type
        return found


@click.group(cls=_Audit, add_help_option=False)
def command() -> None:
    """Say who is in a dataset."""
