from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import curate
from curate.balance.correct.run import rebalance
from curate.balance.correct.source import BalanceInputs, is_held_out
from curate.core.errors import DataError, ManifestError, UsageError
from curate.pipeline.verify import verify
from tests.balance.correct.conftest import ONE, options, run, save_photo, sound


@pytest.mark.parametrize(
    ("split", "held_out"),
    [
        *(
            (name, True)
            for name in ("val", "val2017", "TEST", "public_test", "test-clean", "dev.a")
        ),
        *((name, False) for name in ("train", "train2017", "contest", "latest", "devices", None)),
    ],
)
def test_splits_for_validation_and_test_are_told_by_words(
    split: str | None, held_out: bool
) -> None:
    assert is_held_out(split) is held_out


def test_faces_that_no_run_has_hidden_go_nowhere_by_mistake(
    blurred: Path, people: Path, tmp_path: Path
) -> None:
    photos = str(blurred.parent / "photos")
    with pytest.raises(UsageError, match="OUT would show its faces"):
        rebalance(photos, tmp_path / "x", options("subset"), BalanceInputs(groups=people), ONE)
    assert not (tmp_path / "x").exists()
    listed = options("subset", writes_images=False)
    rebalance(photos, tmp_path / "list", listed, BalanceInputs(groups=people), ONE)
    assert not (tmp_path / "list/data").exists()
    sound(tmp_path / "list")
    shown = BalanceInputs(groups=people, visible_faces=True)
    rebalance(photos, tmp_path / "shown", options("subset"), shown, ONE)
    facts = json.loads((tmp_path / "shown/manifest/balance.json").read_text())
    assert facts["source"]["obfuscated"] is False
    assert "never hidden" in verify(tmp_path / "shown", workers=1, quiet=True).checked


def test_an_image_that_is_not_what_its_manifest_says_ends_the_run(
    blurred: Path, people: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    shutil.copytree(blurred, source)
    save_photo(source / "data/train/nurse/02.jpg", 999)
    with pytest.raises(DataError, match=r"02\.jpg differs from the manifest of SOURCE"):
        rebalance(
            str(source), tmp_path / "out", options("subset"), BalanceInputs(groups=people), ONE
        )
    assert not (tmp_path / "out/data").exists()


@pytest.mark.parametrize("name", ["train/nurse/zz.jpg", "captions.json", "readme.txt"])
@pytest.mark.parametrize("twice", [False, True])
def test_what_no_manifest_lists_is_not_written(
    blurred: Path, people: Path, tmp_path: Path, name: str, twice: bool
) -> None:
    copy = tmp_path / "copy"
    if twice:
        run(blurred, people, copy, options("subset"))
    else:
        shutil.copytree(blurred, copy)
    save_photo(tmp_path / "face.jpg", 300)
    (copy / "data" / name).write_bytes((tmp_path / "face.jpg").read_bytes())
    with pytest.raises(DataError, match=f"{name} is not in the manifest of SOURCE"):
        run(copy, people, tmp_path / "out", options("subset"))
    with pytest.raises(DataError, match="is not in the manifest of SOURCE"):
        rebalance(str(copy), None, options("subset"), BalanceInputs(groups=people))
    assert not (tmp_path / "out").exists()
    listed = options("subset", writes_images=False)
    rebalance(str(copy), tmp_path / "out", listed, BalanceInputs(groups=people), ONE)


def test_files_beside_the_images_must_be_those_of_the_manifest(
    people: Path, tmp_path: Path
) -> None:
    for number in range(4):
        save_photo(tmp_path / f"photos/{number}.jpg", number)
    (tmp_path / "photos/readme.txt").write_text("four photos")
    table = tmp_path / "t.csv"
    table.write_text("file,gender\n0.jpg,m\n1.jpg,m\n2.jpg,f\n3.jpg,f\n")
    curate.blur(tmp_path / "photos", tmp_path / "out", curate.Recipe(profile="fast"), ONE)
    asked = options("subset", label=None, within=False)
    run(tmp_path / "out", table, tmp_path / "even", asked)
    shutil.copy(tmp_path / "photos/0.jpg", tmp_path / "out/data/readme.txt")
    with pytest.raises(DataError, match=r"readme.txt is not in the manifest of SOURCE"):
        run(tmp_path / "out", table, tmp_path / "even2", asked)
    shutil.copy(tmp_path / "photos/0.jpg", tmp_path / "even/data/readme.txt")
    with pytest.raises(DataError, match=r"readme.txt is not in the manifest of SOURCE"):
        run(tmp_path / "even", table, tmp_path / "even2", asked)


def test_a_manifest_that_was_edited_vouches_for_nothing(
    blurred: Path, people: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(blurred, copy)
    parts = sorted((copy / "manifest/records").iterdir())
    parts[-1].write_bytes(parts[0].read_bytes())
    with pytest.raises(
        ManifestError, match="the manifest of SOURCE was changed: the digest of its records"
    ):
        rebalance(str(copy), tmp_path / "out", options("subset"), BalanceInputs(groups=people), ONE)
    assert not (tmp_path / "out").exists()


def test_a_finished_correction_of_another_source_is_not_taken_for_this_one(
    blurred: Path, people: Path, tmp_path: Path
) -> None:
    asked = options("subset")
    run(blurred, people, tmp_path / "out", asked)
    run(tmp_path / "out", people, tmp_path / "again", asked)
    with pytest.raises(UsageError, match="was made from another SOURCE"):
        rebalance(str(blurred), tmp_path / "again", asked, BalanceInputs(groups=people), ONE)
