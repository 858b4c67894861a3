"""Every command documents its options, and shared options are the same everywhere."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

import curate
from curate.cli.group import DefaultGroup
from curate.cli.main import group
from curate.cli.recipe import build_recipe
from curate.core.errors import UsageError

# Options whose meaning differs between commands for the reason given.
DIFFERENT = {
    "--output": "a report, a table of faces or a dataset",
    "--faces": "boxes to hide, or labels to compare with",
    "--target": "a reference population, or the class to explain",
    "--labels": "labels of images, or the report of audit labels",
    "--sample": "images to repeat, or to explain",
    "--by": "all attributes by default, or those to correct",
    "--model": "optional or not",
    "--classes": "names of a model's classes, or of a file's",
    "--predictions": "a folder to write, or to read",
    "--profile": "speed against recall of a detector, or requirements on a card",
    "--confidence": "of a detection, or of a statistical bound",
    "--dry-run": "names what is not written or sent",
    "--duplicates": "orders a review, or keeps groups in one split",
    "--source": "counts labels, or is compared with an output",
    "--manifest": "adds columns, or lists faces",
    "--label": "with or without positives",
    "--min-cell": "off by default, or on",
    "--report": "a file to write, or evidence to read",
}


def iter_commands(
    command: click.Command, path: tuple[str, ...]
) -> Iterator[tuple[str, click.Command]]:
    yield " ".join(path), command
    if isinstance(command, click.Group):
        context = click.Context(command)
        hidden = [command.default_command] if isinstance(command, DefaultGroup) else []
        for name in [*command.list_commands(context), *hidden]:
            found = command.get_command(context, name)
            assert found is not None
            yield from iter_commands(found, (*path, name))


COMMANDS = dict(iter_commands(group, ("curate",)))


def options_of(command: click.Command) -> Iterator[click.Option]:
    return (each for each in command.params if isinstance(each, click.Option))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_has_help(name: str) -> None:
    command = COMMANDS[name]
    assert command.help, name
    for option in options_of(command):
        assert option.help, option.opts


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_shows_its_default(name: str) -> None:
    for option in options_of(COMMANDS[name]):
        context = click.Context(COMMANDS[name])
        record = option.get_help_record(context)
        assert record is not None
        shown = " ".join(record)
        if option.is_flag or option.multiple or option.required:
            continue
        default = option.get_default(context)
        if isinstance(default, str | int | float) and default != "":
            text = f"{default:g}" if isinstance(default, float) else str(default)
            assert "default: " in shown, shown
            assert text in shown.partition("default: ")[2], shown


def test_an_option_is_the_same_in_every_command() -> None:
    seen: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for name, command in COMMANDS.items():
        for option in options_of(command):
            record = option.get_help_record(click.Context(command))
            assert record is not None
            seen[max(option.opts, key=len)]["  ".join(record)].append(name)
    different = {
        option: dict(texts)
        for option, texts in seen.items()
        if len(texts) > 1 and option not in DIFFERENT
    }
    assert different == {}


def test_no_command_says_least_or_most() -> None:
    options = [each for command in COMMANDS.values() for each in options_of(command)]
    names = {name for option in options for name in option.opts}
    assert [name for name in names if re.search(r"(?<!at-)(least|most)", name)] == []


@pytest.mark.parametrize("arguments", [[], ["impact"], ["manifest"]])
def test_a_group_without_a_command_prints_its_help(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "curate", *arguments], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.startswith("Usage: " + " ".join(["curate", *arguments]))
    assert "Commands:" in done.stderr


HEAVY = (
    *("torch", "cv2", "datasets", "scipy", "pyarrow", "pandas", "PIL", "jinja2", "tqdm"),
    "http.client",
)


@pytest.mark.parametrize(
    "code",
    [
        "import curate",
        "import curate; dir(curate)",
        "from curate.cli.main import group; group.main(['--help'], standalone_mode=False)",
        "from curate.cli.main import group; group.main(['blur', '--help'], standalone_mode=False)",
    ],
)
def test_importing_and_help_load_no_heavy_library(code: str) -> None:
    ask = f"{code}\nimport json, sys\nprint(json.dumps([n for n in {HEAVY!r} if n in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["blurr"]])
def test_the_list_of_commands_is_printed_without_numpy_and_layouts(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom curate.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "names = ('numpy', 'curate.layouts', 'curate.detectors', 'http.client')\n"
        "print([name for name in names if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


LINKED = [
    name for name, command in COMMANDS.items() if any(p.name == "layout" for p in command.params)
]


@pytest.mark.parametrize("name", [*LINKED, "curate verify", "curate replay"])
def test_every_command_that_opens_a_dataset_can_follow_links(name: str) -> None:
    assert any("--follow-links" in option.opts for option in options_of(COMMANDS[name]))


@pytest.mark.parametrize("name", COMMANDS)
def test_help_fits_a_terminal_of_80_columns(name: str) -> None:
    command = COMMANDS[name]
    text = command.get_help(click.Context(command, info_name=name, terminal_width=80))
    assert [line for line in text.splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_wrapped_once(name: str) -> None:
    """No word alone in a line before its continuation, and a backslash only inside a command."""
    command = COMMANDS[name]
    text = command.get_help(click.Context(command, info_name=name, terminal_width=80))
    lines = text.splitlines()
    for line, following in pairwise(lines):
        indents = [len(each) - len(each.lstrip()) for each in (line, following)]
        is_alone = len(line.split()) == 1 and not line.endswith((":", "]", "."))
        assert not (is_alone and indents[0] == indents[1] and following.strip()), line
        if line.endswith("\\"):
            assert following.strip().startswith("-") or indents[1] > indents[0]
            start = next(
                each for each in reversed(lines[: lines.index(line) + 1]) if "curate" in each
            )
            assert "  " not in start.strip(), "a row of a table is no command"


@pytest.mark.parametrize("name", COMMANDS)
def test_folded_examples_are_still_commands(name: str) -> None:
    command = COMMANDS[name]
    text = command.get_help(click.Context(command, info_name=name, terminal_width=80))
    folded = re.sub(r" \\\n\s+", " ", text)
    examples = [line.split("#")[0].strip() for line in (command.epilog or "").splitlines()]
    for example in examples:
        is_row = "  " in example  # of a table of commands
        if example.startswith("curate ") and not example.endswith("\\") and not is_row:
            assert example in folded


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        *(("exfi", "exif"), ("EXIF", "exif"), ("embedings", "embeddings"), ("haches", "hashes")),
        *(("landmraks", "landmarks"), ("gsp", "gps"), ("nmes", "names"), ("nnone", "none")),
    ],
)
@pytest.mark.parametrize("form", ["{}", "urls,{}"])
def test_a_misspelled_kind_of_keys_to_drop_is_an_error(word: str, meant: str, form: str) -> None:
    with pytest.raises(UsageError, match=f"{word}.*did you mean '{meant}'.*key:{word}"):
        build_recipe({"drop_keys": form.format(word)})


@pytest.mark.parametrize(
    ("text", "dropped"),
    [
        ("none", ()), ("gps,exif", ("exif", "gps")), ("caption, license", ("caption", "license")),
        ("notes", ("notes",)), ("key:gsp,gps", ("gps", "gsp")), ("GPSLatitude", ("GPSLatitude",)),
    ],
)  # fmt: skip
def test_kinds_and_keys_to_drop(text: str, dropped: tuple[str, ...]) -> None:
    assert build_recipe({"drop_keys": text})[0].drop_keys == dropped


@pytest.mark.parametrize("text", ["none,gps", "caption,none"])
def test_none_stands_alone_in_keys_to_drop(text: str) -> None:
    with pytest.raises(UsageError, match="none"):
        build_recipe({"drop_keys": text})


def test_keys_to_drop_are_checked_in_a_recipe_file(tmp_path: Path) -> None:
    file = tmp_path / "recipe.toml"
    file.write_text('drop_keys = ["gps", "exfi"]\n')
    with pytest.raises(UsageError, match="did you mean 'exif'"):
        build_recipe({"recipe_file": file})


def iter_local_paths() -> Iterator[tuple[str, str]]:
    """Every command with each of its parameters that is a local path."""
    for name, command in COMMANDS.items():
        for param in command.params:
            if isinstance(param.type, click.Path):
                yield name, str(param.name)


@pytest.mark.parametrize(("name", "param"), list(iter_local_paths()))
def test_no_command_takes_a_device_or_pipe(name: str, param: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    command = COMMANDS[name]
    [found] = [each for each in command.params if each.name == param]
    context = click.Context(command)
    for path in ("/dev/zero", "/dev/null", str(tmp_path / "pipe")):
        with pytest.raises(click.BadParameter, match="is a device or pipe; give a file or folder"):
            found.type.convert(path, found, context)
    for fine in (tmp_path, tmp_path / "absent", Path(__file__)):
        assert Path(found.type.convert(str(fine), found, context)) == fine


@pytest.mark.parametrize("option", ["--faces", "--folder"])
def test_a_review_of_a_device_ends_in_one_line(option: str, tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "curate", "review", str(tmp_path), option, "/dev/zero"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr.startswith(f"curate: invalid value for '{option}'")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["audit", "photos", "people.csv", "--by", "gender"], "--groups"),
        (["balance", "out", "even", "--by", "gender", "--strategy", "subset"], "--output"),
    ],
)
def test_a_further_argument_names_the_option_that_takes_it(
    arguments: list[str], option: str
) -> None:
    done = CliRunner().invoke(group, arguments)
    assert done.exit_code == 2
    assert f"did you mean {option}?" in done.output


def test_options_of_functions_name_the_nearest_value() -> None:
    from curate.detectors.options import DetectorOptions

    for make, near in (
        (lambda: curate.BalanceOptions(strategy="subst"), "subset"),
        (lambda: DetectorOptions(profile="thoro"), "thorough"),
        (lambda: curate.ExplainOptions(target="predcted"), "predicted"),
    ):
        with pytest.raises(UsageError, match=rf"did you mean '{near}'\?"):
            make()
