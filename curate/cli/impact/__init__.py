"""``curate impact``: the effect of obfuscation on classifiers; one file per command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from curate.cli.group import CommandGroup
from curate.cli.options import ALLOW_MISSING, BY, GROUPS, add_options

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


def group_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--groups``, ``--by`` and ``--allow-missing`` to a command."""
    decorated: Callable[..., Any] = add_options((GROUPS, BY, ALLOW_MISSING), command)
    return decorated


@click.command(cls=CommandGroup, package="curate.cli.impact", summaries=_COMMANDS)
def command() -> None:
    """Measure the effect of obfuscation on a classifier."""
