"""A small obfuscated dataset, and corrections of it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from PIL import Image

import curate
from curate.balance.correct.options import BalanceOptions
from curate.balance.correct.report import Correction
from curate.balance.correct.run import rebalance
from curate.balance.correct.source import BalanceInputs
from curate.layouts.memory_table import TableLike
from curate.manifest import corrections
from curate.pipeline.session import Session
from curate.pipeline.verify import verify
from tests.conftest import ROOT

SCHEMA = json.loads((ROOT / "manifests/balance-1.schema.json").read_text())


REPORT = json.loads((ROOT / "manifests/balance-report-1.schema.json").read_text())


ONE = Session(workers=1)


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


def run(
    blurred: Path, people: TableLike, out: Path, asked: BalanceOptions, **more: Any
) -> Correction:
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
