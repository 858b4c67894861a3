"""Whatever is changed, added or removed below an output, `verify` names it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import curate
from curate.balance.correct.options import BalanceOptions
from curate.balance.correct.source import BalanceInputs
from curate.core.errors import CurateError
from curate.core.records import printable
from curate.engine.local import Finished
from curate.layouts import open_source
from curate.pipeline.session import Session
from curate.pipeline.verify import verify
from curate.recipe import Recipe
from tests.contract.test_layouts import EXAMPLES
from tests.fingerprints.commands import save_one_face


@dataclass(frozen=True)
class Harm:
    """A change of an output: what it does, how it is undone, and the names that may be told."""

    name: str
    do: Callable[[], object]
    undo: Callable[[], object]
    named: tuple[str, ...]


def make_outputs(root: Path, layout: str) -> None:
    """Write outputs of `blur`, with files beside ``data/``, and of `balance`."""
    (root / "source").mkdir()
    EXAMPLES[layout].build(root / "source")
    ids = [record.id for record in open_source(str(root / "source"), layout).records()]
    save_one_face(ids, root / "faces.parquet")
    session = Session(workers=1, layout=layout, faces=root / "faces.parquet")
    curate.blur(root / "source", root / "blur", Recipe(shard_size=2), session, quiet=True)
    for name in ("LICENSE", "CITATION.cff"):
        (root / "blur" / name).write_text("text\n")
    curate.write_checksums(root / "blur")
    rows = (f"{printable(name)}\t{'ab'[name != ids[0]]}\n" for name in ids)
    (root / "groups.tsv").write_text("id\tgroup\n" + "".join(rows))
    options = BalanceOptions(strategy="subset", by=(("group",),), tolerance=0.0)
    inputs = BalanceInputs(groups=root / "groups.tsv")
    one = Session(workers=1)
    curate.rebalance(root / "blur", root / "balance", options, inputs, one, quiet=True)


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check the parts here: hundreds of checks would start as many workers."""

    def run(job: Any, shards: Any, *_: object, **__: object) -> Iterator[Finished]:
        work = job.open()
        yield from (Finished(each.number, work(each, lambda *_: None)) for each in shards)

    for module in ("curate.pipeline.verify_run", "curate.balance.correct.verify"):
        monkeypatch.setattr(f"{module}.run_job", run)


@pytest.mark.parametrize(
    ("layout", "command"),
    [
        ("imagefolder", "blur"),
        ("imagefolder", "balance"),
        ("webdataset", "blur"),
        *(
            pytest.param(layout, command, marks=pytest.mark.exhaustive)
            for layout in ("coco", "hf_folder", "parquet", "voc", "yolo")
            for command in ("blur", "balance")
        ),
    ],
)
def test_every_change_of_every_file_is_named(layout: str, command: str, tmp_path: Path) -> None:
    make_outputs(tmp_path, layout)
    out = tmp_path / command
    assert lines_of(out) == []
    for harm in [*of_files(out, tmp_path), *of_folders(out, tmp_path), *of_lines(out)]:
        harm.do()
        try:
            lines = lines_of(out)
        finally:
            harm.undo()
        assert any(name in line for line in lines for name in harm.named), (harm.name, lines)
        assert not any("\n" in line for line in lines), harm.name
    assert lines_of(out) == []


def lines_of(out: Path) -> list[str]:
    """What `verify` reports: a line for each problem, or the one of its error."""
    try:
        return [f"{each.path}: {each.detail}" for each in verify(out, quiet=True).problems]
    except CurateError as error:
        return [str(error)]


def of_files(out: Path, spare: Path) -> Iterator[Harm]:
    """Other bytes, another name, another kind, of every file."""
    paths = sorted(path for path in out.rglob("*") if path.is_file())
    for path in paths:
        data, shown = path.read_bytes(), path.relative_to(out)
        restore = partial(replace, path, partial(save, data=data))
        contents = {"end": data[:-1], "nothing": b"", "more": data + b"\n"}
        for where in {len(data) // 2} if data else ():
            flipped = bytes([data[where] ^ 1])
            contents[f"byte {where}"] = data[:where] + flipped + data[where + 1 :]
        for what, changed in contents.items():
            if changed != data:
                do = partial(path.write_bytes, changed)
                yield Harm(f"{shown}: {what}", do, restore, (path.name,))
        twin = spare / f"twin-{path.name}"
        twin.write_bytes(data)
        makers = {"pipe": os.mkfifo, "folder": Path.mkdir, "link": partial(link, target=twin)}
        for kind, make in {**makers, "removed": ignore}.items():
            yield Harm(f"{shown}: {kind}", partial(replace, path, make), restore, (path.name,))
        for name in {f"x{path.name}", path.name.swapcase()} - {path.name}:
            other = path.with_name(name)
            do, undo = partial(path.rename, other), partial(other.rename, path)
            yield Harm(f"{shown}: as {name}", do, undo, (path.name, name))
        pair = next((each for each in paths if differ(each, path, data)), None)
        if pair is not None:
            swap = partial(exchange, path, pair)
            yield Harm(f"{shown}: swapped", swap, swap, (path.name, pair.name))


def of_folders(out: Path, spare: Path) -> Iterator[Harm]:
    """Anything new in every folder, and every folder moved away."""
    (spare / "outside").mkdir(exist_ok=True)
    sums, away = out / "manifest/SHA256SUMS", spare / "away"
    makers: dict[str, Callable[[Path], object]] = {
        "file": partial(save, data=b"text"),
        "image": partial(save, data=b"\xff\xd8\xff\xe0"),
        "folder": Path.mkdir,
        "folder with a file": save_deep,
        "pipe": os.mkfifo,
        "link to a file": partial(link, target=Path(__file__)),
        "link to a folder": partial(link, target=spare / "outside"),
        "link to itself": lambda path: path.symlink_to(path),
        "dangling link": partial(link, target=Path("nothing")),
        "link inside": partial(link, target=sums),
        "hard link": lambda path: path.hardlink_to(sums),
    }
    for folder in (out, *sorted(path for path in out.rglob("*") if path.is_dir())):
        shown = folder.relative_to(out)
        for number, (kind, make) in enumerate(makers.items()):
            path = folder / ("new.jpg", ".new", "new.json")[number % 3]
            do, undo = partial(make, path), partial(replace, path, ignore)
            yield Harm(f"{shown}: {kind}", do, undo, (path.name,))
        if folder != out:
            named = (folder.name, *(path.name for path in folder.iterdir()))
            back = partial(replace, folder, away.rename)
            yield Harm(f"{shown}: moved", partial(folder.rename, away), back, named)
            yield Harm(f"{shown}: linked", partial(move_and_link, folder, away), back, named)


def of_lines(out: Path) -> Iterator[Harm]:
    """Each line of each list of the manifest removed, with the file that it lists or without it."""
    for name in ("SHA256SUMS", "others.jsonl"):
        path = out / "manifest" / name
        data = path.read_bytes() if path.exists() else b""
        lines = data.splitlines(keepends=True)
        for number, line in enumerate(lines):
            listed = out / line.decode().split()[-1] if name == "SHA256SUMS" else path
            if listed.name in ("LICENSE", "CITATION.cff"):
                continue  # may be the user's own
            rest = b"".join(lines[:number] + lines[number + 1 :])
            do, undo = partial(path.write_bytes, rest), partial(path.write_bytes, data)
            yield Harm(f"{name} without {listed.name}", do, undo, (listed.name,))


def replace(path: Path, make: Callable[[Path], object]) -> None:
    """Remove what has a path, and make something else there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    make(path)


def ignore(path: Path) -> None:
    """Make nothing."""


def save(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def save_deep(path: Path) -> None:
    (path / "inside").mkdir(parents=True)
    (path / "inside/file").write_bytes(b"text")


def link(path: Path, target: Path) -> None:
    path.symlink_to(target)


def move_and_link(path: Path, target: Path) -> None:
    path.rename(target)
    path.symlink_to(target)


def differ(path: Path, other: Path, data: bytes) -> bool:
    return path != other and path.suffix == other.suffix and path.read_bytes() != data


def exchange(path: Path, other: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(data)
