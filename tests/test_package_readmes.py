"""The examples in the packages' README files run, and their options exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from PIL import Image

from curate.cli.main import group
from tests.conftest import ROOT

READMES = sorted((ROOT / "curate").rglob("README.md"))


def iter_blocks(language: str) -> Iterator[tuple[str, str]]:
    for path in READMES:
        blocks = re.findall(rf"```{language}\n(.*?)```", path.read_text(), re.DOTALL)
        yield from ((str(path.relative_to(ROOT)), block) for block in blocks)


@pytest.mark.parametrize(("readme", "code"), list(iter_blocks("python")))
def test_python_examples_run(
    readme: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder with a small dataset, tables about it and the committed ``manifests``."""
    Image.effect_noise((96, 64), 60).convert("RGB").save(tmp_path / "photo.jpg")
    save_inputs(tmp_path)
    (tmp_path / "manifests").symlink_to(ROOT / "manifests")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, readme, "exec"), {"__name__": "__main__"})  # noqa: S102 - our own text


def save_inputs(folder: Path) -> None:
    names = [f"photos/{kind}/{number}.png" for kind in ("cat", "dog") for number in range(6)]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((48, 32), 60).convert("RGB").save(folder / name)
    rows = [
        f"{name.removeprefix('photos/')},{'fm'[n % 3 > 0]},{20 + n}" for n, name in enumerate(names)
    ]
    (folder / "people.csv").write_text("\n".join(["id,gender,age", *rows]) + "\n")
    (folder / "labels.txt").write_text("kind\nrude\n")
    judged = [f"{label},{who},safe" for label in ("kind", "rude") for who in "abc"]
    (folder / "round1.csv").write_text("\n".join(["label,annotator,safety", *judged]) + "\n")


def iter_command_lines() -> Iterator[tuple[str, list[str]]]:
    for readme, block in iter_blocks("sh"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words[:3] == ["python", "-m", "curate"]:
                words = words[2:]
            if words[:1] == ["curate"]:
                yield readme, words[1:]


def find_command(words: list[str]) -> tuple[click.Command, list[str]]:
    command: click.Command = group
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        command.parse_args(context := click.Context(command), list(words))
        found = command.get_command(context, words[0])
        if found is None:  # a group with a default command
            break
        command, words = found, words[1:]
    return command, words


@pytest.mark.parametrize(("readme", "words"), list(iter_command_lines()))
def test_options_in_command_lines_exist(readme: str, words: list[str]) -> None:
    command, rest = find_command(words)
    if isinstance(command, click.Group) and command is not group:
        return
    known = {name for each in command.params for name in each.opts} | {"-h", "--help"}
    used = [word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)]
    assert [word for word in used if word not in known] == []


@pytest.mark.parametrize("readme", [*READMES, ROOT / "CONTRIBUTING.md"], ids=str)
def test_every_module_that_a_page_names_exists(readme: Path) -> None:
    example = "curate/layouts/tsv.py"  # written by the reader of CONTRIBUTING.md
    for name in set(re.findall(r"`([\w/.]+\.py)`", readme.read_text())) - {example}:
        folders = (ROOT / "curate", ROOT, readme.parent)
        is_there = any((folder / name).is_file() for folder in folders)
        assert is_there or any(readme.parent.rglob(name)), name
