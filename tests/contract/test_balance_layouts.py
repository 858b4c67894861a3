"""A correction of every layout is a dataset of that layout, and its manifest is true."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from curate.balance.correct.options import BalanceOptions
from curate.balance.correct.run import rebalance
from curate.balance.correct.source import BalanceInputs, is_held_out
from curate.core.records import printable
from curate.layouts import open_source
from curate.manifest import corrections
from curate.pipeline.session import Session
from curate.pipeline.verify import verify
from tests.contract.test_layouts import EXAMPLES

ONE = Session(workers=1)


@pytest.fixture(params=EXAMPLES)
def layout(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def source(layout: str, tmp_path: Path) -> Path:
    folder = tmp_path / "source"
    folder.mkdir()
    EXAMPLES[layout].build(folder)
    return folder


@pytest.fixture
def groups(layout: str, source: Path, tmp_path: Path) -> dict[str, str]:
    """The first record that more can be made of is of a group of its own.

    Of one image of several in a sample or row nothing can be made; that is an error.
    """
    records = list(open_source(str(source), layout).records())
    together = Counter(sample_of(record.id) for record in records)
    first = next(
        record.id
        for record in records
        if not is_held_out(record.split) and together[sample_of(record.id)] == 1
    )
    return {printable(record.id): "ab"[record.id != first] for record in records}


def sample_of(record_id: str) -> str:
    """What images of one sample of a tar have in common."""
    container, slash, inner = record_id.partition(".tar/")
    return container + inner.partition(".")[0] if slash else record_id


@pytest.fixture
def inputs(layout: str, groups: dict[str, str], tmp_path: Path) -> BalanceInputs:
    table, target = tmp_path / "groups.tsv", tmp_path / "target.csv"
    table.write_text("id\tgroup\n" + "".join(f"{n}\t{g}\n" for n, g in groups.items()))
    target.write_text("group,share\na,0.75\nb,0.25\n")
    return BalanceInputs(groups=table, targets=(target,), layout=layout, visible_faces=True,
                  augmentation="photometric")  # fmt: skip


def carry_out(
    source: Path, out: Path, layout: str, inputs: BalanceInputs, options: BalanceOptions
) -> Counter:
    """What became of every record, after everything that must hold was looked at."""
    rebalance(str(source), out, options, inputs, ONE)
    assert [str(problem) for problem in verify(out, None, 1).problems] == []
    opened = open_source(str(out / "data"), layout)
    list(opened.check())
    rows = list(corrections.iter_rows(out / "manifest/records"))
    there = {row.output_path for row in rows if row.outcome != "removed"}
    assert {printable(record.id) for record in opened.records()} == there
    return Counter(row.outcome for row in rows)


def test_a_subset_of_every_layout(
    layout: str, source: Path, groups: dict[str, str], inputs: BalanceInputs, tmp_path: Path
) -> None:
    options = BalanceOptions(strategy="subset", by=(("group",),), tolerance=0.0)
    done = carry_out(source, tmp_path / "out", layout, inputs, options)
    assert done == {"kept": 2, **({"removed": len(groups) - 2} if len(groups) > 2 else {})}


@pytest.mark.parametrize("strategy", ["oversample", "augment"])
def test_more_of_every_layout(
    layout: str,
    source: Path,
    groups: dict[str, str],
    inputs: BalanceInputs,
    tmp_path: Path,
    strategy: str,
) -> None:
    records = list(open_source(str(source), layout).records())
    others = sum(not is_held_out(each.split) for each in records) - 1
    options = BalanceOptions(
        strategy=strategy, by=(("group",),), tolerance=0.0, target="table", max_copies=60,
        augmentation="photometric" if strategy == "augment" else None,
    )  # fmt: skip
    if not others:
        pytest.skip("there is one record only that is not held out")
    done = carry_out(source, tmp_path / "out", layout, inputs, options)
    assert done == {"kept": len(groups), "made": 3 * others - 1}


def test_nothing_to_do_changes_nothing(
    layout: str, source: Path, inputs: BalanceInputs, tmp_path: Path
) -> None:
    options = BalanceOptions(strategy="subset", by=(("group",),), tolerance=0.49)
    carry_out(source, tmp_path / "out", layout, inputs, options)
    load = EXAMPLES[layout].load
    assert load(tmp_path / "out/data") == load(source)
