"""The command ``curate``; commands are imported when they are called."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TextIO

import click

import curate
from curate.core.errors import CurateError
from curate.core.records import escape_unprintable

_COMMANDS = {
    "blur": "obfuscate every face of a dataset and write its manifest",
    "detect": "find the faces of a dataset and write a table of their boxes",
    "review": "correct boxes on a local web page, and bound what is still missed",
    "evaluate": "measure a detector on labelled images, by size and by group",
    "audit": "say who is in a dataset, in which numbers and under which labels",
    "balance": "correct how groups are represented, and say what that costs",
    "impact": "measure what obfuscation costs a classifier in accuracy",
    "verify": "check every file of an output against its manifest, and for leaks",
    "card": "write a dataset card and Croissant from a manifest and its reports",
    "push": "upload a finished dataset to the Hugging Face Hub, or export it",
    "pull": "download a published dataset and check every byte",
    "manifest": "show, compare and publish manifests",
    "replay": "do a recorded run again and say byte-identical, pixel-identical or different",
}


class _Commands(click.Group):
    """Finds a command's module by the command's name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = importlib.import_module(f"curate.cli.{cmd_name}").command
        assert isinstance(command, click.Command)  # noqa: S101 - narrows the type
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(curate.__version__, prog_name="curate")
def group() -> None:
    """Obfuscate the faces of an image dataset, and account for it.

    Exit codes: 0 done; 1 a problem with the data or the environment; 2 wrong
    usage; 3 done, but images were withheld; 130 interrupted, run again to go on.
    """


def main() -> None:
    """Run the command line; every error becomes one line and an exit code.

    ``CURATE_TRACEBACK=1`` in the environment shows where an unforeseen one came from.
    """
    try:
        code = group.main(standalone_mode=False)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        more = f"; see {context.command_path} --help" if context else ""
        _say(f"curate: {error.format_message().rstrip('.')}{more}")
        code = error.exit_code
    except CurateError as error:
        _say(f"curate: {error}")
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _say("curate: stopped; run the same command again")
        code = 130
    except BrokenPipeError:
        _abandon(sys.stdout)
        code = 1
    except OSError as error:
        _say(f"curate: {error.filename or 'the answer cannot be written'}: {error.strerror}")
        _abandon(sys.stdout)
        code = 1
    except Exception as error:
        if os.environ.get("CURATE_TRACEBACK"):
            raise
        line = " ".join(str(error).split())[:300]
        _say(
            f"curate: this should not have happened ({type(error).__name__}: {line}); "
            "please report it, with what CURATE_TRACEBACK=1 shows"
        )
        code = 1
    # Without its standalone mode, click returns the code that a command exited with.
    sys.exit(code if isinstance(code, int) else 0)


def _say(line: str) -> None:
    """Write a line to stderr, if there is anyone to read it."""
    try:
        click.echo(escape_unprintable(line), err=True)
    except (OSError, AttributeError):
        _abandon(sys.stderr)


def _abandon(stream: TextIO | None) -> None:
    """Give a stream up that nobody reads, so that the interpreter does not flush it at its end."""
    if stream is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
