"""``curate impact``: what obfuscation costs a classifier; a file for each way to measure it."""

from __future__ import annotations

import importlib

import click

_COMMANDS = {
    "evaluate": "run a classifier on the original and obfuscated images, and on control arms",
    "predictions": "compare predictions of any model on the original and obfuscated images",
    "train": "train on original and on obfuscated images, and test each network on both",
    "explain": "what a classifier's answers rest on, and how much of it is faces",
}


class _Ways(click.Group):
    """Finds a way's module by its name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        found = importlib.import_module(f"curate.cli.impact.{cmd_name}").command
        assert isinstance(found, click.Command)  # noqa: S101 - narrows the type
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=_Ways)
def command() -> None:
    """Measure what obfuscation costs a classifier in accuracy."""
