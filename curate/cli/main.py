"""The command ``curate``; commands are imported when they are called."""

from __future__ import annotations

import importlib
import sys

import click

import curate
from curate.core.errors import CurateError

_COMMANDS = {
    "blur": "obfuscate every face of a dataset and write its manifest",
    "verify": "check every file of an output against its manifest, and for leaks",
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
    """Run the command line; errors raised on purpose become one line and an exit code."""
    try:
        code = group.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except CurateError as error:
        click.echo(f"curate: {error}", err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("curate: stopped; the same command goes on from what is committed", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    # Without its standalone mode, click returns the code that a command exited with.
    sys.exit(code if isinstance(code, int) else 0)
