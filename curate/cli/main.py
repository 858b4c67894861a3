"""The command ``curate``: its commands, its exit codes, and errors as one line each."""

from __future__ import annotations

import codecs
import io
import os
import re
import sys
import time
from itertools import pairwise
from typing import TextIO

import click

import curate
from curate.cli.group import CommandGroup, Formatter
from curate.cli.printing import print_summary
from curate.core.errors import CurateError, ProblemsError, suggest
from curate.core.records import escape_unprintable
from curate.storage.errors import find_wrong_encoding, name_target

click.Context.formatter_class = Formatter

COMMANDS = {
    "blur": "obfuscate every face of a dataset and write its manifest",
    "detect": "find the faces of a dataset and write a table of their boxes",
    "plan": "estimate time, cost, storage and network of a run from a sample",
    "duplicates": "find near-duplicate images, and copies that were not blurred",
    "review": "correct boxes on a local web page, and bound the share of missed faces",
    "evaluate": "measure a detector on labeled images, by face size and by group",
    "audit": "measure how groups are represented in a dataset",
    "balance": "correct how groups are represented, and report what that costs",
    "impact": "measure the effect of obfuscation on a classifier's accuracy",
    "verify": "check every file of an output against its manifest, and for leaks",
    "card": "write a dataset card and Croissant from a manifest and its reports",
    "push": "upload a finished dataset to the Hugging Face Hub, or export it",
    "pull": "download a published dataset and check every byte",
    "manifest": "show, compare, publish, checksum and sign manifests",
    "replay": "repeat a recorded run and compare the outputs",
}


@click.command(
    cls=CommandGroup,
    package="curate.cli",
    summaries=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(curate.__version__, prog_name="curate", help="Print the version and exit.")
def group() -> None:
    """Obfuscate the faces of an image dataset, balance its groups, record both.

    Exit codes: 0 done; 1 the command failed or found a problem, or an input is
    missing or cannot be used; 2 wrong usage: an option that is missing or has an
    unknown value, or an output in the place of something else; 3 done, but images
    or label maps were withheld (left out of the output, with the reason in the
    manifest); 130 interrupted: the message says whether the same command continues.
    """


def main() -> None:
    """Run the command line; every error becomes one line and an exit code.

    ``CURATE_TRACEBACK=1`` in the environment shows where an internal error occurred.
    """
    _open_closed_stdout()
    reads_files = _HELP.isdisjoint(sys.argv[1:]) and len(sys.argv) > 1
    if reads_files and (reason := find_wrong_encoding()):
        _print(f"curate: {reason}")
        sys.exit(1)
    _check_encoding()
    for name, value in _SILENT.items():
        os.environ.setdefault(name, value)
    try:
        code = group.main(prog_name="curate", standalone_mode=False, obj=time.time())
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        code = error.exit_code
    except click.ClickException as error:
        _print(f"curate: {_describe(error)}")
        code = error.exit_code
    except ProblemsError as error:
        _print(f"curate: {error.what}:")
        for problem in error.problems[:_MAX_PROBLEMS]:
            print_summary(f"  {_shorten(' '.join(problem.split()))}")
        if len(error.problems) > _MAX_PROBLEMS:
            print_summary(f"  … and {len(error.problems) - _MAX_PROBLEMS:,} more")
        code = error.exit_code
    except CurateError as error:
        _print(f"curate: {error}")
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        _print(f"curate: interrupted; {_after_interrupt(sys.argv[1:])}")
        code = 130
    except BrokenPipeError:
        _discard(sys.stdout)
        code = 1
    except OSError as error:
        name = name_target(str(error.filename or "the result cannot be written"))
        _print(f"curate: {name}: {error.strerror}")
        _discard(sys.stdout)
        code = 1
    except Exception as error:
        if os.environ.get("CURATE_TRACEBACK"):
            raise
        line = " ".join(str(error).split())[:300]
        _print(
            f"curate: internal error ({type(error).__name__}: {line}); please report it with "
            "the output of the same command with CURATE_TRACEBACK=1"
        )
        code = 1
    # Without its standalone mode, click returns the code that a command exited with.
    sys.exit(code if isinstance(code, int) else 0)


_HELP = {"-h", "--help", "--version"}
_MAX_LINE = 900
"""Maximum length of a message, characters."""
_MAX_PROBLEMS = 100
_SILENT = {
    **dict.fromkeys(("HF_DATASETS_DISABLE_PROGRESS_BARS", "HF_HUB_DISABLE_PROGRESS_BARS"), "1"),
    **dict.fromkeys(("DATASETS_VERBOSITY", "HF_HUB_VERBOSITY", "TRANSFORMERS_VERBOSITY"), "error"),
}
"""Environment in which the libraries of the Hub print no bars and no lines of their own."""

_RESUMED = (
    *("blur", "detect", "balance", "replay", "push", "pull", "review redo"),
    *("impact evaluate", "impact train"),
)
_ONCE = {"--dry-run", "--explain", "--strategy=split"}
_KEPT = {"--output", "--predictions"}
"""Options of which ``impact evaluate`` has one, or keeps nothing."""


def _after_interrupt(arguments: list[str]) -> str:
    """What the same command does after Ctrl-C: continue, or start over."""
    words = [word for word in arguments if not word.startswith("-")]
    names = {" ".join(words[:count]) for count in (1, 2)}
    options = set[str]()
    for word, value in pairwise([*arguments, ""]):
        if word.startswith("--"):
            options |= {word, word.partition("=")[0], f"{word}={value}"}
        elif word.startswith("-o"):
            options.add("--output")
    is_kept = "impact evaluate" not in names or not options.isdisjoint(_KEPT)
    if names & {*_RESUMED} and options.isdisjoint(_ONCE) and is_kept:
        return "run the same command again to continue"
    return "run the command again; it starts from the beginning"


def _open_closed_stdout() -> None:
    """Let writing to a closed stdout fail as to a full disk; without it, Python writes nowhere.

    Its number is taken, so that no file that is opened later gets what is printed.
    """
    if sys.stdout is not None:
        return
    while (number := os.open(os.devnull, os.O_RDONLY)) < 1:
        pass
    if number > 1:
        os.dup2(number, 1)
        os.close(number)
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)), "utf-8")


def _check_encoding() -> None:
    """Say once if the locale is not UTF-8; characters that it lacks are printed as escapes."""
    encodings = {each.encoding for each in _streams()}
    others = {name for name in encodings if codecs.lookup(name).name != "utf-8"}
    if not others:
        return
    for stream in _streams():
        stream.reconfigure(errors="backslashreplace")
    _print(
        f"curate: the encoding of this terminal or locale is {min(others)}, not UTF-8; some "
        "characters are printed as escapes (set PYTHONUTF8=1)"
    )


def _streams() -> list[io.TextIOWrapper]:
    return [each for each in (sys.stdout, sys.stderr) if isinstance(each, io.TextIOWrapper)]


def _describe(error: click.ClickException) -> str:
    """Describe an error of click in one line, with what may have been meant."""
    text = " ".join(error.format_message().split()).rstrip(".")
    text = text.replace(". Did", "; did").replace(". Choose", "; choose")
    context, param = getattr(error, "ctx", None), getattr(error, "param", None)
    if isinstance(error, click.NoSuchOption):
        text = f"no such option {error.option_name!r}"
        text += suggest(error.option_name, error.possibilities or ())
    if param is not None and isinstance(param.type, click.Choice):
        given = re.search(r"'([^']*)' is not one of", text)
        text += suggest(given.group(1), map(str, param.type.choices)) if given else ""
    see = " See" if text.endswith("?") else "; see"
    more = f"{see} {context.command_path} --help" if context else ""
    return f"{text[:1].lower()}{text[1:]}{more}"


def _print(line: str) -> None:
    """Print a message on stderr, unless that is closed: one line, which a terminal wraps."""
    try:
        print_summary(_shorten(escape_unprintable(_shorten(line))))
    except (OSError, AttributeError):
        _discard(sys.stderr)


def _shorten(line: str) -> str:
    """Cut the middle of a message, which can quote a file; the remedy is at its end."""
    return line if len(line) <= _MAX_LINE else f"{line[:700]}…{line[-200:]}"


def _discard(stream: TextIO | None) -> None:
    """Redirect a closed stream to nowhere, so that the interpreter's last flush succeeds."""
    if stream is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
