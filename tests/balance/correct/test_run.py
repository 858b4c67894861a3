from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import curate
from curate.balance.correct.options import BalanceInputs, BalanceOptions
from curate.balance.correct.report import Correction
from curate.balance.correct.run import rebalance
from curate.balance.correct.source import is_held_out
from curate.core.errors import CurateError, DataError, ManifestError, UsageError
from curate.manifest import corrections, store
from curate.pipeline.session import Session
from curate.pipeline.verify import verify
from tests.conftest import ROOT

SCHEMA = json.loads((ROOT / "manifests/balance-1.schema.json").read_text())
REPORT = json.loads((ROOT / "manifests/balance-report-1.schema.json").read_text())
ONE = Session(workers=1)
OTHER = '{"path": "a.txt", "carried": true}\n'


def save_photo(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    Image.fromarray(pixels).resize((48, 36)).save(path)


@pytest.fixture(scope="module")
def blurred(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run over two classes of 20 small pictures in train, and 6 in val."""
    folder = tmp_path_factory.mktemp("balance")
    for number in range(20):
        save_photo(folder / f"photos/train/nurse/{number:02d}.jpg", number)
        save_photo(folder / f"photos/train/pilot/{number:02d}.png", 100 + number)
    for number in range(6):
        save_photo(folder / f"photos/val/nurse/v{number}.jpg", 200 + number)
    curate.blur(folder / "photos", folder / "out", curate.Recipe(profile="fast"), ONE)
    return folder / "out"


@pytest.fixture(scope="module")
def people(blurred: Path) -> Path:
    """Nurses are women but for 5, pilots are men but for 4; nothing is known of one."""
    path = blurred.parent / "people.csv"
    rows = [f"train/nurse/{n:02d}.jpg,{'m' if n < 5 else 'f'}" for n in range(19)]
    rows += [f"train/pilot/{n:02d}.png,{'f' if n < 4 else 'm'}" for n in range(20)]
    rows += [f"val/nurse/v{n}.jpg,f" for n in range(6)]
    path.write_text("file,gender\n" + "\n".join(rows) + "\n")
    return path


def options(strategy: str, **more: Any) -> BalanceOptions:
    given = {"strategy": strategy, "by": (("gender",),), "label": "category", "within": True}
    return BalanceOptions(**{**given, "tolerance": 0.0, **more})


def rows_of(out: Path) -> list[corrections.Row]:
    return list(corrections.iter_rows(out / "manifest/records"))


def tally(out: Path) -> Counter[tuple[str, str, str]]:
    """How many records of each group and class there are, of those that are not removed."""
    return Counter(
        (row.split or "", row.labels[0], row.groups[0])
        for row in rows_of(out)
        if row.outcome != "removed"
    )


def sound(out: Path) -> None:
    assert [str(problem) for problem in verify(out, None, 1).problems] == []
    facts = json.loads((out / "manifest/balance.json").read_text())
    jsonschema.validate(facts, SCHEMA)


def run(blurred: Path, people: Path, out: Path, asked: BalanceOptions, **more: Any) -> Correction:
    done = rebalance(str(blurred), out, asked, BalanceInputs(groups=people, **more), ONE)
    jsonschema.validate(done.report, REPORT)
    sound(out)
    return done


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("log.jsonl", "SHA256SUMS")
    }


def test_a_subset_meets_its_target_and_copies_the_rest_as_it_is(
    blurred: Path, people: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = run(blurred, people, out, options("subset", splits=("train",)))
    assert tally(out) == {
        ("train", "nurse", "m"): 5, ("train", "nurse", "f"): 5, ("train", "nurse", "(missing)"): 1,
        ("train", "pilot", "f"): 4, ("train", "pilot", "m"): 4, ("val", "nurse", "f"): 6,
    }  # fmt: skip
    assert done.report["counts"] == {
        "records": 40, "kept": 19, "removed": 21, "made": 0, "fixed": 6,
    }  # fmt: skip
    for row in rows_of(out):
        if row.outcome == "removed":
            assert row.reason == "there are more of its group than the target"
            assert not (out / "data" / row.id).exists()
        else:
            assert (out / "data" / row.id).read_bytes() == (blurred / "data" / row.id).read_bytes()
    facts = json.loads((out / "manifest/balance.json").read_text())
    assert facts["source"]["obfuscated"] is True
    assert facts["source"]["manifest_sha256"] is not None


def test_the_same_again_is_the_same_and_another_seed_chooses_others(
    blurred: Path, people: Path, tmp_path: Path
) -> None:
    asked = options("augment", augmentation="flip", shard_size=8)
    more = BalanceInputs(groups=people, augmentation="flip")
    for name, workers in (("a", 1), ("b", 2)):
        rebalance(str(blurred), tmp_path / name, asked, more, Session(workers=workers))
    assert files(tmp_path / "a") == files(tmp_path / "b")
    run(blurred, people, tmp_path / "c", options("subset", seed=1))
    run(blurred, people, tmp_path / "d", options("subset", seed=2))
    sizes = [Counter((labels, group) for _, labels, group in tally(tmp_path / n).elements())
             for n in "cd"]  # fmt: skip
    assert sizes[0] == sizes[1]
    kept = [{r.id for r in rows_of(tmp_path / n) if r.outcome == "kept"} for n in "cd"]
    assert kept[0] != kept[1]


def test_nothing_is_ever_made_of_validation_or_test(
    blurred: Path, people: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(blurred, people, out, options("oversample"))
    assert tally(out)[("val", "nurse", "f")] == 6
    assert tally(out)[("train", "nurse", "m")] == 14
    assert {row.split for row in rows_of(out) if row.outcome == "made"} == {"train"}
    with pytest.raises(UsageError, match="adds no records to 'val'"):
        run(blurred, people, tmp_path / "x", options("augment", splits=("val",)))


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


def test_repetitions_are_the_same_bytes_and_augmentations_are_told_how(
    blurred: Path, people: Path, tmp_path: Path
) -> None:
    over, more = tmp_path / "over", tmp_path / "more"
    run(blurred, people, over, options("oversample"))
    for row in rows_of(over):
        if row.outcome == "made":
            data = (over / "data" / str(row.output_path)).read_bytes()
            assert data == (blurred / "data" / str(row.made_from)).read_bytes()
            assert row.seed is None
    asked = options("augment", augmentation="geometric")
    run(blurred, people, more, asked, augmentation="geometric")
    made = [row for row in rows_of(more) if row.outcome == "made"]
    assert len(made) == 9 + 12
    for row in made:
        assert row.seed is not None
        assert row.parameters is not None
        with Image.open(more / "data" / str(row.output_path)) as image:
            assert image.size == (48, 36)
    facts = json.loads((more / "manifest/balance.json").read_text())
    assert facts["augmentation"]["transform"]["__class_fullname__"] == "Compose"


def test_weights_are_a_table_that_a_sampler_can_use(
    blurred: Path, people: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    done = run(blurred, people, out, options("reweigh", target="observed"))
    assert not (out / "data").exists()
    table = pq.read_table(out / "manifest/weights.parquet").to_pylist()
    assert [row["id"] for row in table] == [row.id for row in rows_of(out)]
    weight = {row["id"]: row["weight"] for row in table}
    assert weight["train/nurse/00.jpg"] > 1 > weight["train/nurse/10.jpg"]
    assert weight["train/nurse/19.jpg"] == 1  # nothing is known of it
    found = done.report["comparisons"]["gender"]
    assert found["before"]["cramers_v"] > 0.4
    assert found["after"]["cramers_v"] == 0
    assert done.report["weights"]["effective_sample_size"] < 46


def test_positives_are_added_where_they_are_rarer(
    blurred: Path, people: Path, tmp_path: Path
) -> None:
    asked = options(
        "augment-positive", within=False, positive="pilot", augmentation="flip", max_copies=20
    )
    done = run(blurred, people, tmp_path / "out", asked, augmentation="flip")
    found = done.report["comparisons"]["gender"]
    counted = tally(tmp_path / "out")
    rates = {
        g: counted[("train", "pilot", g)]
        / (counted[("train", "pilot", g)] + counted[("train", "nurse", g)])
        for g in "fm"
    }
    assert 20 / 39 <= rates["f"] < rates["m"]  # the overall rate of those whose gender is known
    assert found["after"]["rate_gap"] < found["before"]["rate_gap"]


def test_a_preview_says_the_same_and_writes_nothing(
    blurred: Path, people: Path, tmp_path: Path
) -> None:
    asked = options("subset")
    before = files(blurred)
    said = rebalance(str(blurred), None, asked, BalanceInputs(groups=people)).report
    done = run(blurred, people, tmp_path / "out", asked).report
    assert said == done
    assert files(blurred) == before


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
def test_nothing_goes_out_that_no_manifest_speaks_of(
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
    with pytest.raises(DataError, match=r"readme.txt differs from the manifest of SOURCE"):
        run(tmp_path / "out", table, tmp_path / "even2", asked)
    shutil.copy(tmp_path / "photos/0.jpg", tmp_path / "even/data/readme.txt")
    with pytest.raises(DataError, match=r"readme.txt differs from the manifest of SOURCE"):
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


def test_a_correction_can_be_corrected(blurred: Path, people: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    run(blurred, people, first, options("subset", splits=("train",)))
    done = rebalance(
        str(first), second, options("subset", within=False), BalanceInputs(groups=people), ONE
    )
    sound(second)
    facts = json.loads((second / "manifest/balance.json").read_text())
    assert facts["source"]["obfuscated"] is True
    assert done.report["counts"]["records"] == 25


def test_a_finished_correction_is_not_done_again(
    blurred: Path, people: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = run(blurred, people, out, options("subset"))
    again = rebalance(str(blurred), out, options("subset"), BalanceInputs(groups=people), ONE)
    assert again.already_done
    assert again.report == first.report
    with pytest.raises(UsageError, match="another recipe"):
        rebalance(str(blurred), out, options("subset", seed=5), BalanceInputs(groups=people), ONE)


def test_a_table_alone_gets_a_list(people: Path, tmp_path: Path) -> None:
    asked = options("subset", label=None, within=False)
    rebalance(str(people), tmp_path / "out", asked, BalanceInputs(), ONE)
    sound(tmp_path / "out")
    kept = [row for row in rows_of(tmp_path / "out") if row.outcome == "kept"]
    assert Counter(row.groups[0] for row in kept) == {"f": 21, "m": 21}


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (lambda out: (out / "data/extra.jpg").write_bytes(b"x"), "extra"),
        (lambda out: (out / "data/train/nurse/00.jpg").unlink(), "missing"),
        (lambda out: (out / "data/train/nurse/00.jpg").write_bytes(b"x"), "changed"),
        (lambda out: (out / "manifest/note.txt").write_text("x"), "extra"),
        (lambda out: (out / "manifest/before.json").write_text("{}"), "manifest"),
        (lambda out: (out / "manifest/others.jsonl").write_text(OTHER), "manifest"),
        (lambda out: save_photo(out / "more/a.jpg", 1), "extra"),
    ],
)
def test_verify_sees_what_was_changed(
    blurred: Path, people: Path, tmp_path: Path, tamper: Any, said: str
) -> None:
    out = tmp_path / "out"
    run(blurred, people, out, options("oversample"))
    tamper(out)
    assert said in {problem.kind for problem in verify(out, None, 1).problems}


def test_verify_sees_a_manifest_that_was_rewritten(
    blurred: Path, people: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run(blurred, people, out, options("subset"))
    path = out / "manifest/balance.json"
    facts = json.loads(path.read_text())
    facts["counts"]["kept"] += 1
    facts["recipe"]["seed"] = 7
    path.write_text(json.dumps(facts))
    found = list(verify(out, None, 1).problems)
    assert {each.path for each in found if each.kind == "changed"} == {"manifest/balance.json"}
    said = {each.detail.split(" is ")[0] for each in found if each.kind != "changed"}
    assert said == {"counts.kept", "recipe_sha256", "report.counts", "report.recipe"}
    del facts["counts"]
    path.write_text(json.dumps(facts))
    with pytest.raises(ManifestError, match=r"counts\.records is missing"):
        verify(out, None, 1)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"by": ()}, "no attributes given"),
        ({"by": (("gender", "gender"),)}, "names an attribute twice"),
        ({"by": (("category",),)}, "both the label and an attribute"),
        ({"by": (("eyes",),)}, "no column 'eyes'"),
        ({"splits": ("dev",)}, "no record is in split 'dev'"),
        ({"min_per_label": 30}, "fewer than the 30"),
        ({"strategy": "augment-positive"}, "requires --label and --positive"),
        ({"positive": "pilot"}, "--positive is only for"),
        ({"rate": "highest"}, "--base-rate is only for"),
        (
            {"strategy": "augment-positive", "positive": "pilot", "target": "observed"},
            "has no --target",
        ),
        ({"strategy": "shrink"}, "unknown strategy 'shrink'"),
    ],
)
def test_what_is_wrong_is_one_line(
    blurred: Path, people: Path, tmp_path: Path, more: dict[str, Any], said: str
) -> None:
    def attempt() -> None:
        asked = options(**{"strategy": "subset", **more})
        rebalance(str(blurred), tmp_path / "out", asked, BalanceInputs(groups=people), ONE)

    with pytest.raises(CurateError, match=said) as error:
        attempt()
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["report", "files"])
def test_facts_that_lack_a_part_are_one_line(people: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    asked = options("reweigh", label=None, within=False)
    rebalance(None, out, asked, BalanceInputs(groups=people), ONE)
    path = out / "manifest/balance.json"
    facts = json.loads(path.read_text())
    path.write_text(json.dumps({**facts, name: []}))
    with pytest.raises(ManifestError, match=f"{name} is missing or of another type"):
        list(verify(out, None, 1).problems)
    with pytest.raises(ManifestError, match=f"{name} is missing or of another type"):
        rebalance(None, out, asked, BalanceInputs(groups=people), ONE)


def test_verify_compares_weights_and_report_with_the_records(people: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked = options("reweigh", label=None, within=False)
    rebalance(None, out, asked, BalanceInputs(groups=people), ONE)
    sound(out)
    path, weights = out / "manifest/balance.json", out / "manifest/weights.parquet"
    table = pq.read_table(weights)
    values = [99.0, *table.column("weight").to_pylist()[1:]]
    pq.write_table(table.set_column(2, table.schema.field(2), [values]), weights)
    facts = json.loads(path.read_text())
    facts["files"]["weights.parquet"] = store.digest_file(weights)
    facts["report"]["counts"]["kept"] += 1
    path.write_text(json.dumps(facts))
    found = "\n".join(str(problem) for problem in verify(out, None, 1).problems)
    assert "differs from its record" in found
    assert "report.counts is" in found


def test_a_finished_correction_of_another_source_is_not_taken_for_this_one(
    blurred: Path, people: Path, tmp_path: Path
) -> None:
    asked = options("subset")
    run(blurred, people, tmp_path / "out", asked)
    run(tmp_path / "out", people, tmp_path / "again", asked)
    with pytest.raises(UsageError, match="was made from another SOURCE"):
        rebalance(str(blurred), tmp_path / "again", asked, BalanceInputs(groups=people), ONE)


def test_ids_without_a_suffix_can_be_repeated(tmp_path: Path) -> None:
    rows = [f"person {n},{'f' if n < 4 else 'm'}" for n in range(20)]
    rows += ["person 0_aug1,m", ".hidden,f", "folder/last,f"]
    table = tmp_path / "people.csv"
    table.write_text("id,gender\n" + "\n".join(rows), encoding="utf-8")
    asked = options("oversample", label=None, within=False, tolerance=0.02)
    counts = rebalance(str(table), tmp_path / "out", asked, BalanceInputs(), ONE).report["counts"]
    sound(tmp_path / "out")
    ids = [row.id for row in rows_of(tmp_path / "out")]
    assert len(set(ids)) == len(ids) == 23 + counts["made"]
    assert counts["made"] == 10
