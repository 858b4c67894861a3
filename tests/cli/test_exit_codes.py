"""Similar mistakes have one exit code in every command, are one message, and write nothing.

1 is for data and the environment: an input that is missing or cannot be used. 2 is for wrong
usage: an option that is missing or has an unknown value, and an output in the place of something
else.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import pytest
from PIL import Image

import curate
from curate.review.run import ReviewOptions, opened
from curate.review.sampling import Target
from tests.cli.test_options import COMMANDS
from tests.conftest import InProcess
from tests.publishing.outs import write_answers

pytest.importorskip("starlette", reason="the extra review is not installed")

DATA, USAGE = 1, 2

_COLORS = ("--model", "python:tests.impact.evaluate.trials:Colors", "--device", "cpu")
_QUICK = ("--epochs", "1", "--size", "16", "--seeds", "1", "--device", "cpu")

CALLS: dict[str, tuple[str, ...]] = {
    "blur": ("photos", "NEW", "--faces", "faces.json"),
    "detect": ("photos", "--output", "NEW.parquet"),
    "plan": ("photos", "--images", "100", "--faces", "faces.json"),
    "duplicates": ("photos", "out"),
    "review": ("photos", "--faces", "faces.json", "--folder", "NEW.review", "--no-browser"),
    "review export": ("faces.review", "--output", "NEW.parquet"),
    "review redo": ("out.review", "photos", "NEW"),
    "review report": ("out.sample",),
    "evaluate": ("photos", "--faces", "faces.json", "--detections", "faces.json"),
    "audit": ("photos", "--groups", "people.csv", "--by", "gender"),
    "audit labels": ("vocabulary.txt", "--judgments", "judgments.csv"),
    "audit merge": ("sites/a.json", "sites/b.json"),
    "balance": (
        *("out", "--groups", "people.csv", "--by", "gender", "--strategy", "subset"),
        *("--output", "NEW"),
    ),
    "impact evaluate": ("photos", "out", *_COLORS, "--workers", "1"),
    "impact predictions": ("original.npz", "obfuscated.npz"),
    "impact train": ("photos", "out", *_QUICK),
    "impact explain": ("photos", "out", *_COLORS, "--methods", "gradcam", "--max-images", "2"),
    "verify": ("out",),
    "card": ("out",),
    "push": ("out", "owner/name", "--dry-run"),
    "pull": ("owner/name", "NEW"),
    "manifest checksum": ("out",),
    "manifest diff": ("out", "again"),
    "manifest publish": ("out", "NEW"),
    "manifest show": ("out",),
    "replay": ("photos", "out", "NEW"),
}
"""A call of every command; what it writes is named NEW."""

OTHER_CALLS: dict[tuple[str, str], tuple[str, ...]] = {
    ("duplicates", "--faces"): ("photos",),
    ("review", "--run"): ("photos", "--folder", "NEW.review", "--no-browser"),
    ("balance", "--labels"): (
        *("out", "--label", "category", "--strategy", "labels", "--output", "NEW"),
    ),
    ("balance", "--duplicates"): ("out", "--strategy", "split", "--output", "NEW.csv"),
    ("impact predictions", "--also"): ("original.npz", "obfuscated.npz"),
    ("push", "--to"): ("out", "--dry-run"),
}
"""Calls for options that exclude those above."""

WRITTEN = {"--output", "--html", "--explain", "--state", "--to"}
"""Options that name what is written, in every command that has them."""

WRITTEN_BY = {
    "review": {"--folder"}, "balance": {"--report"},
    "impact evaluate": {"--predictions"}, "impact train": {"--predictions"},
}  # fmt: skip
"""The same in some commands."""

UNREAD = {
    ("impact train", "--work"): "a folder in which the work folder is made",
    ("card", "--template"): "any text is a template",
}

COLUMNS = {
    "audit": ("--by", "--label", "--id"),
    "balance": ("--by", "--label", "--within", "--id"),
    "evaluate": ("--by",),
    "impact evaluate": ("--by",),
    "impact predictions": ("--by",),
    "impact train": ("--by",),
    "review": ("--by",),
}
"""Options that name columns of ``--groups``."""

TABLES = ("--groups", "--labels", "--weights")
"""Options that take tables by image id."""

VALUES = {
    "blur": (
        "--method",
        "--method-option",
        "--detector",
        "--keep-metadata",
        "--engine",
        "--shards",
    ),
    "detect": ("--detector", "--engine", "--shards"),
    "plan": ("--method", "--detector", "--engine", "--price"),
    "duplicates": ("--engine",),
    "review": ("--filter", "--at-most"),
    "evaluate": ("--detector", "--min-height"),
    "audit": ("--bins", "--reference", "--epsilon"),
    "balance": ("--bins", "--base-rate", "--split", "--engine", "--shards", "--fractions"),
    "impact evaluate": ("--model", "--arms", "--engine"),
    "impact train": ("--probe", "--holdout"),
    "impact explain": ("--model", "--methods"),
    "verify": ("--engine",),
}
"""Options whose values are names or numbers, beside those that list their values."""


def make_photos(folder: Path) -> list[str]:
    """Sixteen photos of noise in two splits and two classes, half of them with a face."""
    random, faces = np.random.default_rng(0), []
    for number in range(16):
        split, color = ("train", "val")[number % 2], ("blue", "red")[number // 2 % 2]
        path = folder / "photos" / split / color / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (16, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((96, 64)).save(path)
        boxes = [{"xyxy": [10, 10, 40, 40]}] if number % 4 else []
        faces.append({"file": str(path.relative_to(folder / "photos")), "faces": boxes})
    (folder / "faces.json").write_text(json.dumps(faces))
    return [str(face["file"]) for face in faces]


def make_tables(folder: Path, names: Sequence[str]) -> None:
    lines = {
        "people.csv": ("id,gender", [f"{name},{'fm'[n % 2]}" for n, name in enumerate(names)]),
        "labels.csv": ("id,label", [f"{name},{Path(name).parent.name}" for name in names]),
        "weights.csv": ("id,weight", [f"{name},1" for name in names]),
        "target.csv": ("gender,share", ["f,0.5", "m,0.5"]),
        "judgments.csv": ("label,annotator,safety", ["nurse,a,safe", "nurse,b,safe"]),
        "no_ids.csv": ("a,b", ["1,2"]),
    }
    for name, (first, rows) in lines.items():
        (folder / name).write_text("\n".join([first, *rows, ""]))
    (folder / "vocabulary.txt").write_text("nurse\n")
    labels = np.array([int("red" in name) for name in names])
    logits = np.random.default_rng(0).normal(size=(len(names), 2)).astype(np.float32)
    for name in ("original.npz", "obfuscated.npz"):
        np.savez(folder / name, id=np.array(names), label=labels, logits=logits)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs of every command, and files that no command can use."""
    folder = tmp_path_factory.mktemp("workshop")
    names = make_photos(folder)
    make_tables(folder, names)
    session = curate.Session(faces=folder / "faces.json", workers=1)
    curate.blur(folder / "photos", folder / "out", session=session, quiet=True)
    shutil.copytree(folder / "out", folder / "again")
    curate.write_checksums(folder / "out")
    write_answers(folder / "out")
    curate.write_card(folder / "out")
    report = curate.audit(folder / "photos", "gender", folder / "people.csv", quiet=True)
    (folder / "sites").mkdir()
    for name in ("a.json", "b.json"):
        report.save(json=folder / "sites" / name)
    faces, sample = folder / "faces.json", Target(at_most=0.9)
    for options in (
        ReviewOptions(faces=faces, folder=folder / "faces.review"),
        ReviewOptions(run=folder / "out", folder=folder / "out.review"),
        ReviewOptions(run=folder / "out", folder=folder / "out.sample", sample=sample),
    ):
        with opened(folder / "photos", options, lambda _: None):
            pass
    (folder / "other").mkdir()
    (folder / "other/notes.txt").write_text("of somebody else\n")
    for suffix in (".json", ".html", ".parquet", ".csv"):
        (folder / f"other{suffix}").write_text("of somebody else\n")
    for name in ("garbage", "garbage.json"):
        (folder / name).write_bytes(bytes(range(256)) * 4)
    return folder


@dataclass(frozen=True)
class Case:
    """A call with one mistake.

    Args:
        command: the command.
        arguments: its arguments.
        code: the exit code.
    """

    command: str
    arguments: tuple[str, ...]
    code: int


def name_of(command: str) -> click.Command:
    found = COMMANDS.get(f"curate {command}")
    default = getattr(found, "default_command", None)
    found = COMMANDS[f"curate {command} {default}"] if default else found
    assert found is not None
    return found


def with_option(arguments: Sequence[str], option: str, value: str) -> tuple[str, ...]:
    """The arguments with another value of an option, or with one more option."""
    if option == "--also":
        return (*arguments, option, "original.npz", value)
    if option not in arguments:
        return (*arguments, option, value)
    position = arguments.index(option) + 1
    return (*arguments[:position], value, *arguments[position + 1 :])


def iter_paths(command: str) -> Iterator[tuple[str, bool, tuple[str, ...], int | None]]:
    """Each path that a command takes: its name, whether it is written, a call, its position."""
    call, position = CALLS[command], -1
    for param in name_of(command).params:
        is_path = isinstance(param.type, click.Path) or param.type.name == "path"
        name = max(param.opts, key=len)
        if isinstance(param, click.Argument):
            position += 1
            if is_path and position < len(call) and not call[position].startswith("-"):
                yield name, call[position].startswith("NEW"), call, position
        elif is_path:
            is_written = name in WRITTEN or name in WRITTEN_BY.get(command, ())
            yield name, is_written, OTHER_CALLS.get((command, name), call), None


def replaced(call: Sequence[str], name: str, position: int | None, value: str) -> tuple[str, ...]:
    if position is None:
        return with_option(call, name, value)
    return (*call[:position], value, *call[position + 1 :])


def iter_missing(command: str) -> Iterator[Case]:
    """Inputs that do not exist."""
    for name, is_written, call, position in iter_paths(command):
        if not is_written and (command, name) not in UNREAD:
            for value in ("absent", "absent.json"):
                yield Case(command, replaced(call, name, position, value), DATA)


def iter_unusable(command: str) -> Iterator[Case]:
    """Inputs that are files of something else, and folders of something else."""
    for name, is_written, call, position in iter_paths(command):
        if not is_written and (command, name) not in UNREAD:
            for value in ("garbage", "garbage.json", "other", "other.csv"):
                is_second = (command, position, value) == ("balance", 0, "other.csv")
                code = USAGE if is_second else DATA  # a table as SOURCE, and --groups
                yield Case(command, replaced(call, name, position, value), code)
        if name in TABLES:
            yield Case(command, replaced(call, name, position, "no_ids.csv"), DATA)


def iter_columns(command: str) -> Iterator[Case]:
    """Columns that no table has."""
    for option in COLUMNS.get(command, ()):
        call = with_option(CALLS[command], "--groups", "people.csv")
        yield Case(command, with_option(call, option, "gendr"), USAGE)


def iter_values(command: str) -> Iterator[Case]:
    """Values that an option does not have."""
    for param in name_of(command).params:
        if isinstance(param.type, click.Choice):
            name = max(param.opts, key=len)
            yield Case(command, with_option(CALLS[command], name, "unheard-of"), USAGE)
    for option in VALUES.get(command, ()):
        yield Case(command, with_option(CALLS[command], option, "unheard-of"), USAGE)
    yield Case(command, (*CALLS[command], "--unheard-of"), USAGE)


def iter_taken(command: str) -> Iterator[Case]:
    """Outputs in the place of a file or folder that the command did not write."""
    for name, is_written, call, position in iter_paths(command):
        if not is_written:
            continue
        suffix = Path(call[position] if position is not None else "").suffix
        if name == "--output" and name in call:
            suffix = Path(call[call.index(name) + 1]).suffix
        elif name in ("--output", "--report", "--html", "--explain"):
            suffix = ".html" if name in ("--html", "--explain") else ".json"
        taken = [f"other{suffix}"] if suffix not in ("", ".review") else ["other", "other.json"]
        if name == "--state":
            taken = ["other.json"]
        for value in taken:
            yield Case(command, replaced(call, name, position, value), USAGE)


def iter_over_inputs(command: str) -> Iterator[Case]:
    """Outputs that are an input, or inside one."""
    call = CALLS[command]
    read = [word for word in call if word in ("photos", "out", "faces.json", "people.csv")]
    read += [word for word in call if word.endswith((".npz", "a.json", ".txt"))]
    for name, is_written, other, position in iter_paths(command):
        if is_written and name not in ("--state", "--to"):
            for value in read:
                if value in other:
                    yield Case(command, replaced(other, name, position, value), USAGE)
                    if value in ("photos", "out"):
                        inside = f"{value}/new{'.html' if name == '--html' else ''}"
                        yield Case(command, replaced(other, name, position, inside), USAGE)


def iter_omitted(command: str) -> Iterator[Case]:
    """Calls without an argument or option that is required."""
    call, params = CALLS[command], name_of(command).params
    required = [each for each in params if isinstance(each, click.Argument) and each.required]
    options = next((n for n, word in enumerate(call) if word.startswith("-")), len(call))
    for count in range(len(required)):
        yield Case(command, (*call[:count], *call[options:]), USAGE)
    for param in params:
        if isinstance(param, click.Option) and param.required:
            at = call.index(max(param.opts, key=len))
            yield Case(command, (*call[:at], *call[at + 2 :]), USAGE)


KINDS = {
    "missing": iter_missing,
    "unusable": iter_unusable,
    "columns": iter_columns,
    "values": iter_values,
    "taken": iter_taken,
    "over inputs": iter_over_inputs,
    "omitted": iter_omitted,
}


def list_files(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and path.parts[len(folder.parts)] != "out.push"  # the state of push
    }


def test_every_command_is_called() -> None:
    leaves = {
        name.removeprefix("curate ").removesuffix(" dataset").removesuffix(" start")
        for name, command in COMMANDS.items()
        if not isinstance(command, click.Group)
    }
    assert set(CALLS) == leaves


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("command", CALLS)
def test_a_mistake_has_the_exit_code_of_its_kind(
    command: str,
    kind: str,
    workshop: Path,
    in_process: InProcess,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(workshop)
    monkeypatch.setattr("curate.review.server.serve", lambda *_: pytest.fail("a server started"))
    before, faults = list_files(workshop), []
    for case in KINDS[kind](command):
        done = in_process(*command.split(), *case.arguments)
        lines = done.stderr.strip().splitlines()
        said = [line for line in lines if line.startswith("curate: ")]
        is_verdict = command == "verify" and not said  # a problem that it found
        is_whole = is_verdict or (len(said) == 1 and not done.stdout)
        is_whole = is_whole and "internal error" not in done.stderr
        if done.returncode != case.code or not is_whole or list_files(workshop) != before:
            faults.append((" ".join(case.arguments), done.returncode, done.stderr[-300:]))
            written = {*list_files(workshop)} - {*before}
            faults += [(path, -1, "was written") for path in written]
            for path in written:
                (workshop / path).unlink()
    assert faults == []
