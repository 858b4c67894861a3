from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curate.balance.correct.options import BalanceOptions
from curate.balance.correct.run import rebalance
from curate.balance.correct.source import BalanceInputs
from curate.balance.correct.verify import iter_problems
from curate.core.errors import CurateError, DataError, UsageError
from curate.manifest import corrections
from curate.pipeline.session import Session, Snapshot, Step
from tests.balance.correct.conftest import ONE, files, options, rows_of, run, sound, tally
from tests.pipeline.test_progress import Terminal


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


@pytest.mark.worker_processes
def test_the_number_of_workers_changes_no_byte(blurred: Path, people: Path, tmp_path: Path) -> None:
    asked = options("augment", augmentation="flip", shard_size=8)
    more = BalanceInputs(groups=people, augmentation="flip")
    for name, workers in (("a", 1), ("b", 2)):
        rebalance(str(blurred), tmp_path / name, asked, more, Session(workers=workers))
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_progress_shows_what_is_read_removed_and_added(
    blurred: Path, people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.pipeline.progress._ITEMS_PER_STEP", 10)
    for strategy in ("subset", "oversample"):
        seen: list[Snapshot] = []
        session = Session(workers=1, watch=seen.append)
        inputs = BalanceInputs(groups=people)
        out = tmp_path / strategy
        monkeypatch.setattr("sys.stderr", terminal := Terminal())
        done = rebalance(str(blurred), out, options(strategy), inputs, session)
        assert "reading: 10 records" in terminal.getvalue()
        assert {each.faces for each in seen} == {None}
        counts = done.report["counts"]
        assert (seen[-1].removed, seen[-1].added) == (counts["removed"], counts["made"])
        assert (seen[0].removed, seen[0].added) == (0, 0)
        assert counts["removed"] + counts["made"] > 0
        steps: list[Step] = []
        found = iter_problems(out, ONE, corrections.load_facts(out / "manifest"), steps.append)
        assert list(found) == []
        assert (steps[-1].unit, steps[-1].done) == ("shards", steps[-1].total)
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    rebalance(str(blurred), tmp_path / "q", options("subset"), inputs, ONE, quiet=True)
    assert terminal.getvalue() == ""


def test_another_seed_chooses_others(blurred: Path, people: Path, tmp_path: Path) -> None:
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


def test_a_table_in_memory_decides_as_its_file(blurred: Path, people: Path, tmp_path: Path) -> None:
    frame, asked = pd.read_csv(people), options("subset", splits=("train",))
    of_file = run(blurred, people, tmp_path / "file", asked).report
    in_memory = run(blurred, frame, tmp_path / "memory", asked).report
    recorded = of_file["recipe"].pop("files"), in_memory["recipe"].pop("files")
    assert [list(each) for each in recorded] == [["groups"], ["groups_in_memory"]]
    assert rows_of(tmp_path / "memory") == rows_of(tmp_path / "file")
    assert in_memory["counts"] == of_file["counts"]
    inputs = BalanceInputs(groups=frame.copy())
    assert rebalance(blurred, tmp_path / "memory", asked, inputs, ONE).already_done
    inputs = BalanceInputs(groups=frame[::-1])
    with pytest.raises(UsageError, match="another recipe"):
        rebalance(blurred, tmp_path / "memory", asked, inputs, ONE)


def test_a_table_in_memory_alone_gets_a_list(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    inputs = BalanceInputs(groups=pd.read_csv(people))
    asked = BalanceOptions(strategy="subset", by="gender")
    for out in (None, "groups"):  # as the argument is named in messages
        done = rebalance(None, out, asked, inputs, ONE)
        assert done.report["counts"]["records"] == 45
    sound(tmp_path / "groups")
    with pytest.raises(DataError, match=r"the table absent\.csv cannot be read: No such file"):
        rebalance(None, None, asked, BalanceInputs(groups="absent.csv"), ONE)
    with pytest.raises(UsageError, match="both SOURCE and --groups are tables"):
        rebalance(people, None, asked, inputs, ONE)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"by": ()}, "no attributes given"),
        ({"by": (("gender", "gender"),)}, "names an attribute twice"),
        ({"by": (("category",),)}, "both the label and an attribute"),
        ({"by": (("eyes",),)}, "nor the dataset has 'eyes'"),
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
