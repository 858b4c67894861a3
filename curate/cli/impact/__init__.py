"""``curate impact``: the effect of obfuscation on classifiers; one file per command."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import click

from curate.cli.options import ALLOW_MISSING, GROUPS, add_options

_COMMANDS = {
    "evaluate": "run a classifier on original and obfuscated images, and on control arms",
    "predictions": "compare a model's prediction files for original and obfuscated images",
    "train": "train on original and on obfuscated images, and test each network on both",
    "explain": "measure how much of a classifier's attribution lies on faces",
}

CLASSES = click.option(
    "--classes",
    metavar="FILE|N|imagenet",
    help="Class names in the order of the scores, one per line or a JSON list; their number; or "
    "ImageNet's WordNet ids. [default: the model's own]",
)


BATCH = click.option(
    "--batch",
    type=int,
    metavar="N",
    help="Images per batch. [default: 8, on CUDA 64; for training 32]",
)
BY = click.option(
    "--by",
    multiple=True,
    metavar="NAME[,NAME…]",
    help="Attribute to group by, or the intersection of several; can be repeated. "
    "[default: all with 2 to 12 values]",
)


def group_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--groups``, ``--by`` and ``--allow-missing`` to a command."""
    decorated: Callable[..., Any] = add_options((GROUPS, BY, ALLOW_MISSING), command)
    return decorated


class _Commands(click.Group):
    """Imports the module of a command when it is needed."""

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


@click.group(cls=_Commands)
def command() -> None:
    """Measure the effect of obfuscation on a classifier."""
