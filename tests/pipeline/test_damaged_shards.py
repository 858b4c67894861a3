"""Files in the work folder that change between the attempts of a run are never published."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from skimage.data import coins

import curate
from curate import Recipe, Session
from curate.core.errors import DataError
from curate.pipeline import assembly
from curate.pipeline.damaged_shards import discard_damaged
from tests.layouts.shards import write_tar

RECIPE = Recipe(profile="fast", shard_size=2)
Damage = Callable[[Path], object]
Fingerprint = Callable[[Path], dict[str, str]]


class Killed(BaseException):
    """The end of an attempt, at a moment that the test chooses."""


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def link(path: Path) -> None:
    moved = path.rename(path.parents[5] / "elsewhere")
    path.symlink_to(moved)


def add(path: Path) -> None:
    shutil.copy(path, path.with_name(f".{path.name}.Ab12cd"))  # as of an interrupted rsync


def of_shard(name: str, damage: Damage) -> Damage:
    """Damage to another file of the shard than its images."""
    return lambda path: damage(path.parent.with_name(name))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six small photos without a face."""
    source = tmp_path_factory.mktemp("source") / "small"
    source.mkdir()
    photo = Image.fromarray(coins()).convert("RGB").resize((96, 96))
    for number in range(6):
        photo.rotate(10 * number).save(source / f"{number}.png")
    return source


@pytest.fixture(scope="module")
def committed(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output whose shards are all committed; only copied."""
    out = tmp_path_factory.mktemp("committed") / "out"
    curate.blur_shards(small, out, "1/1", RECIPE, Session(workers=1))
    return out


@pytest.fixture(scope="module")
def whole(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of an undisturbed run; only read."""
    out = tmp_path_factory.mktemp("whole") / "out"
    attempt(small, out)
    return out


@pytest.fixture
def tars(small: Path, tmp_path: Path) -> Path:
    """The photos of ``small`` in two containers."""
    images = [(path.name, path.read_bytes()) for path in sorted(small.iterdir())]
    write_tar(tmp_path / "tars/a.tar", images[:3])
    write_tar(tmp_path / "tars/b.tar", images[3:])
    return tmp_path / "tars"


def attempt(source: Path, out: Path) -> tuple[curate.Summary, list[str]]:
    said: list[str] = []
    session = Session(workers=1, notify=said.append)
    return curate.blur(source, out, RECIPE, session), [line for line in said if "again" in line]


def kill_at(name: str, module: object, source: Path, out: Path) -> None:
    """Make an attempt that is killed where it calls a function."""

    def killed(*_: object) -> None:
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, name, killed)
        with pytest.raises(Killed):
            attempt(source, out)


@pytest.mark.parametrize(
    "damage",
    [
        flip, cut, link, add, Path.unlink,
        *(
            of_shard(name, change)
            for name in ("part.parquet", "tally.json", "files.jsonl")
            for change in (flip, Path.unlink)
        ),
    ],
)  # fmt: skip
def test_a_shard_is_done_again_if_its_files_are_not_what_was_written(
    damage: Damage, small: Path, committed: Path, whole: Path, tmp_path: Path,
    fingerprint: Fingerprint,
) -> None:  # fmt: skip
    out = Path(shutil.copytree(committed, tmp_path / "out"))
    damage(out / ".curate/shards/00001/data/2.png")
    summary, said = attempt(small, out)
    assert (summary.written, summary.images_now) == (6, 2)
    assert len(said) == 1
    assert "1 shard (first 00001: " in said[0]
    assert fingerprint(out) == fingerprint(whole)
    assert curate.verify(out, small, 1, quiet=True).ok
    assert sorted(path.name for path in out.iterdir()) == ["data", "manifest"]


@pytest.mark.parametrize("damage", [flip, cut, Path.unlink])
@pytest.mark.parametrize("moment", ["describe_run", "move_to_output"])
def test_images_that_were_moved_are_checked_too(
    moment: str, damage: Damage, small: Path, committed: Path, whole: Path, tmp_path: Path,
    fingerprint: Fingerprint,
) -> None:  # fmt: skip
    """An attempt is killed in and after the assembly of the output."""
    out = Path(shutil.copytree(committed, tmp_path / "out"))
    kill_at(moment, assembly, small, out)
    assert not (out / "manifest").exists()
    damage(next((out / ".curate").rglob("data/3.png")))
    summary, said = attempt(small, out)
    assert (summary.images_now, len(said)) == (2, 1)
    assert fingerprint(out) == fingerprint(whole)
    assert curate.verify(out, small, 1, quiet=True).ok


def test_an_attempt_without_damage_does_nothing_again(
    small: Path, committed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(committed, out)
    for moment in ("gather", "describe_run", "move_to_output"):
        kill_at(moment, assembly, small, out)
    summary, said = attempt(small, out)
    assert (summary.written, summary.images_now, said) == (6, 0, [])


def test_an_image_that_is_withheld_when_it_is_done_again_is_not_in_the_output(
    small: Path, tmp_path: Path
) -> None:
    source, out = tmp_path / "source", tmp_path / "out"
    shutil.copytree(small, source)
    kill_at("describe_run", assembly, source, out)
    before = (source / "3.png").stat()
    (source / "3.png").write_bytes(bytes(before.st_size))
    os.utime(source / "3.png", ns=(before.st_atime_ns, before.st_mtime_ns))
    flip(out / ".curate/final/data/3.png")
    summary, _ = attempt(source, out)
    assert (summary.written, summary.withheld) == (5, 1)
    assert not (out / "data/3.png").exists()
    assert curate.verify(out, workers=1, quiet=True).ok


@pytest.mark.parametrize(
    "damaged", ["members/b.tar/4.png", "final/data/a.tar", "rebuilt/00000.jsonl"]
)
def test_images_of_containers_and_rebuilt_containers_are_checked(
    damaged: str, tars: Path, tmp_path: Path, fingerprint: Fingerprint
) -> None:
    """An attempt is killed after it has rebuilt the first of two containers."""
    whole, out = tmp_path / "whole", tmp_path / "out"
    attempt(tars, whole)
    rename = Path.rename

    def killed(self: Path, target: Path) -> Path:
        if Path(target).name == "b.tar":
            raise Killed
        return rename(self, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(Killed):
            attempt(tars, out)
    flip(out / ".curate" / damaged)
    _, said = attempt(tars, out)
    assert len(said) == 1
    assert fingerprint(out) == fingerprint(whole)
    assert curate.verify(out, tars, 1, quiet=True).ok


def test_finish_names_the_shards_that_must_be_done_again(
    small: Path, committed: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(committed, tmp_path / "out"))
    cut(out / ".curate/shards/00002/data/5.png")
    with pytest.raises(DataError, match=r"1 of 3 shards are not committed \(00002\)"):
        curate.blur(small, out, RECIPE, Session(workers=1, finish=True))
    assert not (out / "manifest").exists()
    assert curate.blur_shards(small, out, "1/1", RECIPE, Session(workers=1)).images_now == 2
    assert curate.blur(small, out, RECIPE, Session(workers=1, finish=True)).written == 6


def test_a_table_of_faces_is_not_made_from_a_damaged_shard(small: Path, tmp_path: Path) -> None:
    table, whole = tmp_path / "faces.parquet", tmp_path / "whole.parquet"
    curate.detect(small, whole, RECIPE, quiet=True)
    curate.detect_shards(small, table, "1/1", RECIPE, Session(workers=1))
    flip(tmp_path / ".faces.parquet.curate/shards/00001/part.parquet")
    curate.detect(small, table, RECIPE, quiet=True)
    assert table.read_bytes() == whole.read_bytes()


def test_a_disk_that_changes_every_file_ends_the_run(
    small: Path, committed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Path(shutil.copytree(committed, tmp_path / "out"))

    def damaging(run: curate.pipeline.run.Run[Recipe], shards: int) -> dict[int, str]:
        cut(out / ".curate/shards/00000/data/0.png")
        return discard_damaged(run, shards)

    monkeypatch.setattr("curate.pipeline.shard_queue.discard_damaged", damaging)
    with pytest.raises(DataError, match=r"data/0\.png has changed; check the disk") as caught:
        attempt(small, out)
    assert "\n" not in str(caught.value)
    assert not (out / "manifest").exists()
