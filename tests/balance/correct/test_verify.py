from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from curate.balance.correct.run import rebalance
from curate.balance.correct.source import BalanceInputs
from curate.core.errors import ManifestError
from curate.manifest import store
from curate.pipeline.verify import verify
from tests.balance.correct.conftest import ONE, options, run, save_photo, sound

OTHER = '{"path": "a.txt", "carried": true}\n'


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


@pytest.mark.parametrize("is_file", [False, True])
def test_a_git_repository_is_no_part_of_the_output(
    is_file: bool, people: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    asked = options("reweigh", label=None, within=False)
    rebalance(None, out, asked, BalanceInputs(groups=people), ONE)
    (out / ".git").write_text("gitdir: ../.git") if is_file else (out / ".git").mkdir()
    sound(out)


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
    assert said == {"counts.kept", "recipe_sha256", "report.counts.kept", "report.recipe.seed"}
    del facts["counts"]
    path.write_text(json.dumps(facts))
    with pytest.raises(ManifestError, match=r"counts\.records is missing"):
        verify(out, None, 1)


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
    assert "report.counts.kept is" in found


@pytest.mark.parametrize("name", ["others.jsonl", "balance.json", "weights.parquet", "log.jsonl"])
def test_a_pipe_in_the_manifest_is_named_without_blocking(
    name: str, people: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    rebalance(
        None, out, options("reweigh", label=None, within=False), BalanceInputs(groups=people), ONE
    )
    (out / "manifest" / name).unlink()
    os.mkfifo(out / "manifest" / name)
    try:
        found = [problem.path for problem in verify(out, None, 1).problems]
    except ManifestError as error:
        found = [str(error)]
    assert any(name in line for line in found)
