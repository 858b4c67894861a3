"""Outputs made by someone else: each command that reads a manifest, in a real process."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import curate
from curate.publishing.card.questions import format_template
from tests.process.test_bombs_folders import run_all
from tests.process.test_bombs_images import JPEG
from tests.publishing.outs import ANSWERS, answer

Change = Callable[[Path], object]

DIGITS = "9" * 900_000

UPDATE = "blur in {0} --faces faces.json --method mosaic --workers 1 --update"
RUN_READERS = (
    *("verify {0} --workers 1", "manifest show {0}", "manifest diff {0} out", UPDATE),
    *("manifest publish {0} {0}-public", "replay in {0} {0}-again --workers 1"),
    *("card {0}", "push {0} a/b --dry-run --workers 1", "audit in --manifest {0} --by outcome"),
    *("review --run {0} --folder {0}-review --no-browser", "verify {0} --workers 1 --source in"),
    "impact evaluate in {0} --model onnx:{0}/README.md -o {0}.json",
)
RECIPE_READERS = (RUN_READERS[0], RUN_READERS[5])


def content(name: str, data: str | bytes) -> Change:
    return lambda out: (out / name).write_bytes(data.encode() if isinstance(data, str) else data)


def run(key: str, value: Any) -> Change:
    """A value of run.json, by its path."""

    def change(out: Path) -> None:
        path = out / "manifest/run.json"
        facts = inner = json.loads(path.read_text())
        *parents, last = key.split(".")
        for parent in parents:
            inner = inner[parent]
        inner[last] = "@" if isinstance(value, bytes) else value
        text = json.dumps(facts)
        path.write_text(text.replace('"@"', value.decode()) if isinstance(value, bytes) else text)

    return change


RUNS: dict[str, Change] = {
    "deep": content("manifest/run.json", "[" * 15_000_000),
    "wide": run("recipe", {str(number): [] for number in range(150_000)}),
    "digits": run("counts.images", DIGITS.encode()),
    "margin": run("obfuscator.margin", b"9" * 4000),
    "parts": run("records.parts", 10**20),
    "text": run("source.layout", "A" * 14_000_000),
    "name": run("obfuscator.name", "A" * 3_000_000),
    "key": run("counts.reasons", {"k" * 3_000_000: -1}),
    "list": run("recipe", [1]),
    "null": run("counts", None),
}


def make_outs(folder: Path, changes: dict[str, Change]) -> None:
    """An honest output, and a copy of it for each change."""
    for number in range(2):
        path = folder / f"in/a/{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(JPEG)
    faces = [{"file": "a/0.jpg", "faces": [{"xyxy": [5, 5, 20, 20]}]}]
    faces.append({"file": "a/1.jpg", "faces": []})
    (folder / "faces.json").write_text(json.dumps(faces))
    session = curate.Session(faces=folder / "faces.json", workers=1)
    curate.blur(folder / "in", folder / "out", method="mosaic", session=session, quiet=True)
    (folder / "out/card.toml").write_text(answer(format_template(), **ANSWERS))
    curate.write_checksums(folder / "out")
    for name, change in changes.items():
        shutil.copytree(folder / "out", folder / name)
        change(folder / name)


def test_run_json_is_bounded(tmp_path: Path) -> None:
    types = {"types": run("recipe", {"margin": [[{}]]})}
    make_outs(tmp_path, RUNS | types)
    commands = dict.fromkeys(RUNS, RUN_READERS) | dict.fromkeys(types, RECIPE_READERS)
    formatted = {name: [each.format(name) for each in commands[name]] for name in commands}
    for name, end in run_all(tmp_path, formatted).items():
        assert all(line.startswith("1 curate: ") for line in end.split("\n")), (name, end)


OTHER = '{"path": "a.db", "carried": false, "reason": "it is not text"}\n'
BINARY = b"\0\xff\xfe" * 1000
ALIASES = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
FILES: dict[str, tuple[Change, tuple[str, ...]]] = {
    **{
        f"{kind}_{name.replace('/', '_')}": (content(name, data), commands)
        for kind, data in {"deep": "[" * 5_000_000, "binary": BINARY}.items()
        for name, commands in {
            "manifest/others.jsonl": ("verify {0} --workers 1",),
            "manifest/log.jsonl": ("verify {0} --workers 1",),
            "manifest/SHA256SUMS": ("verify {0} --workers 1", "manifest checksum {0}"),
            "manifest/records/part-00000.parquet": (
                *("verify {0} --workers 1", "manifest show {0}", "manifest diff {0} out"),
                *("manifest publish {0} {0}-public", "audit in --manifest {0} --by outcome"),
            ),
            "card.toml": ("card {0}",),
            "README.md": ("card {0} --check",),
        }.items()
    },
    "lines": (content("manifest/others.jsonl", OTHER * 30_000), ("verify {0} --workers 1",)),
    "aliases": (content("README.md", f"---\n{ALIASES}---\n"), ("card {0} --check",)),
    "toml": (content("card.toml", "a = " + "[" * 500_000), ("card {0}",)),
}


def test_other_files_of_an_output_are_bounded(tmp_path: Path) -> None:
    make_outs(tmp_path, {name: change for name, (change, _) in FILES.items()})
    commands = {name: [each.format(name) for each in texts] for name, (_, texts) in FILES.items()}
    ends = run_all(tmp_path, commands)
    logs = {name: ends.pop(name) for name in commands if "log" in name}  # among other problems
    assert all(end.startswith("1 ") for end in logs.values()), logs
    for name, end in ends.items():
        assert all(line.startswith("1 curate: ") for line in end.split("\n")), (name, end)
    assert "more than 10,000 lines over the 0 files that run.json counts" in ends["lines"]
