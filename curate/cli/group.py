"""Groups of commands that are imported when they are called."""

from __future__ import annotations

import importlib
import re
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

import click

from curate.core.errors import suggest


class Formatter(click.HelpFormatter):
    """Writes help; preformatted lines that are longer than the terminal is wide are folded."""

    def write_text(self, text: str) -> None:
        """Write paragraphs, and preformatted ones as they are where they fit."""
        start = len(self.buffer)
        super().write_text(text)
        written = "".join(self.buffer[start:])
        del self.buffer[start:]
        lines = _join(written.split("\n"))
        self.write("\n".join(_fold(line, min(self.width + 2, 80)) for line in lines))


_ROW = re.compile(r"( *)(\S+(?: \S+)* {2,}|\S+: )?")


def _join(lines: Iterable[str]) -> list[str]:
    """Join commands of several lines, and rows of a table with the rest of their last column."""
    joined: list[str] = []
    for line in lines:
        before = joined[-1] if joined else ""
        lead, column = _ROW.match(before).groups("")  # type: ignore[union-attr]
        indent = len(line) - len(line.lstrip())
        if before.endswith(" \\"):
            joined[-1] = f"{before[:-2]} {line.strip()}"
        elif column.endswith("  ") and line.strip() and indent == len(lead) + len(column):
            joined[-1] = f"{before} {line.strip()}"
        else:
            joined.append(line)
    return joined


def _fold(line: str, width: int) -> str:
    """Fold a line at spaces: below its second column, or as a command of several lines."""
    if len(line) <= width:
        return line
    lead, column = _ROW.match(line).groups("")  # type: ignore[union-attr]
    is_command = line.lstrip().startswith("curate ") and "  " not in column
    if is_command:  # an option and its value stay in one line
        line = re.sub(r"(?<= )(--?[\w-]+) (?=[^-\s#])", "\\1\0", line)
    rows = textwrap.wrap(
        line.strip(),
        width - 2 * is_command,
        initial_indent=lead,
        subsequent_indent=" " * (len(lead) + (4 if is_command or ":" in column else len(column))),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return (" \\\n" if is_command else "\n").join(rows).replace("\0", " ")


class CommandGroup(click.Group):
    """A group whose commands are modules, imported when they are called.

    A command is the attribute ``command`` of its module. Without a command, the group prints
    its help.

    Args:
        package: the package of the modules.
        summaries: one line of help by command name, in the order of ``--help``.
        kwargs: arguments of `click.Group`.
    """

    def __init__(self, package: str, summaries: Mapping[str, str], **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]  # click's own names
        self._package, self._summaries = package, summaries

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return list(self._summaries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command, or None if there is no such command."""
        if cmd_name not in self._summaries:
            return None
        command = importlib.import_module(f"{self._package}.{cmd_name}").command
        assert isinstance(command, click.Command)  # noqa: S101 - narrows the type
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of the arguments; a misspelled name is an error with a suggestion."""
        if args[0] not in self._summaries:
            options = {name for param in self.get_params(ctx) for name in param.opts}
            hint = suggest(args[0], self._summaries)
            if f"--{args[0]}" in options:  # such as `curate version`
                hint = f"; did you mean '{ctx.command_path} --{args[0]}'?"
            ctx.fail(f"no such command {args[0]!r}{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self._summaries.items()))


class _DefaultContext(click.Context):
    """The context of a default command, whose own name is empty."""

    @property
    def command_path(self) -> str:
        return super().command_path.rstrip()


class HintedCommand(click.Command):
    """A command that names an option where an argument is given in its place.

    Args:
        option: the option that takes what users give as a further argument.
        kwargs: arguments of `click.Command`.
    """

    def __init__(self, option: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._option = option

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse, and name the option in the message about a further argument."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            if not error.message.startswith("Got unexpected extra argument"):
                raise
            hint = f"; did you mean {self._option}?"
            raise click.UsageError(f"{error.message.rstrip('.')}{hint}", ctx) from None


class DefaultGroup(click.Group):
    """A group that runs one of its commands when the first argument names none.

    Usage lines and messages show the default command under the name of the group, as the
    user types it.

    Args:
        default: name of that command; it is not listed.
        kwargs: arguments of `click.Group`.
    """

    def __init__(self, default: str, **kwargs: object) -> None:
        super().__init__(**kwargs)  # type: ignore[arg-type]  # click's own names
        self.default_command = default

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Insert the default command unless the first argument is a command."""
        if not args or args[0] not in self.commands:
            args = [self.default_command, *args]
        return super().parse_args(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands without the default one."""
        return [name for name in super().list_commands(ctx) if name != self.default_command]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; the default one has no name of its own in usage lines."""
        name, command, rest = super().resolve_command(ctx, args)
        if name == self.default_command and command is not None:
            command.context_class = _DefaultContext
        return ("" if name == self.default_command else name), command, rest
