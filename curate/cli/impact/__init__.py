"""``curate impact``: the effect of obfuscation on classifiers; one file per command."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import click

from curate.cli.options import PATH
from curate.layouts import LAYOUTS

_COMMANDS = {
    "evaluate": "run a classifier on original and obfuscated images, and on control arms",
    "predictions": "compare a model's prediction files for original and obfuscated images",
    "train": "train on original and on obfuscated images, and test each network on both",
    "explain": "measure how much of a classifier's attribution lies on faces",
}

ALLOW_MISSING = click.option(
    "--allow-missing",
    is_flag=True,
    help="Leave out images without a pair instead of stopping; withheld images are always left "
    "out.",
)
BY = click.option(
    "--by",
    multiple=True,
    metavar="NAME[,NAME…]",
    help="An attribute to group images by, or the intersection of several; can be repeated. "
    "[default: every column with 2 to 12 values]",
)
CLASSES = click.option(
    "--classes",
    metavar="FILE|N|imagenet",
    help="Class names in the order of the scores, one per line or a JSON list; their number; or "
    "ImageNet's WordNet ids. [default: the model's own]",
)
DEVICE = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Device of the networks.",
)
FORMAT = click.option(
    "--format",
    "layout",
    type=click.Choice(["auto", *LAYOUTS]),
    default="auto",
    show_default=True,
    help="Layout of ORIGINAL.",
)
GROUPS = click.option(
    "--groups",
    type=PATH,
    metavar="TABLE",
    help="CSV, TSV, JSON Lines or Parquet with a column id; its other columns are attributes.",
)
LABELS = click.option(
    "--labels",
    type=PATH,
    metavar="TABLE",
    help="CSV, TSV, JSON Lines or Parquet with columns id and label. [default: the categories of "
    "ORIGINAL]",
)
SEED = click.option("--seed", type=int, default=0, show_default=True, help="Random seed.")


def group_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--groups``, ``--by`` and ``--allow-missing`` to a command."""
    for option in (ALLOW_MISSING, BY, GROUPS):
        command = option(command)
    return command


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
