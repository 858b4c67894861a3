"""A suggested split: near-duplicates together, groups in every part."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from curate.balance.splits import SplitOptions, suggest_splits
from curate.cli.main import group as cli
from curate.core.errors import DataError, UsageError


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for category, count in (("cat", 40), ("dog", 20)):
        (folder / category).mkdir(parents=True)
        for index in range(count):
            Image.new("RGB", (8, 8), (index, 0, 0)).save(folder / category / f"{index:02}.png")
    return folder


@pytest.fixture
def duplicates(tmp_path: Path) -> Path:
    groups = [[f"cat/{n:02}.png" for n in range(start, start + 3)] for start in range(0, 30, 3)]
    path = tmp_path / "duplicates.json"
    path.write_text(json.dumps({"groups": [*groups, ["cat/39.png", "dog/00.png"]]}))
    return path


def read(path: Path) -> dict[str, tuple[str, str]]:
    with path.open(newline="") as file:
        return {row["id"]: (row["split"], row["group"]) for row in csv.DictReader(file)}


def test_near_duplicates_stay_together_and_fractions_hold_in_every_class(
    dataset: Path, duplicates: Path, tmp_path: Path
) -> None:
    options = SplitOptions(duplicates=duplicates)
    done = suggest_splits(dataset, tmp_path / "s.csv", options)
    rows = read(tmp_path / "s.csv")
    assert list(rows) == sorted(rows)
    assert done.images == {"train": 48, "test": 12}
    assert done.together == 11
    assert done.strata == {"cat": {"train": 32, "test": 8}, "dog": {"train": 16, "test": 4}}
    for group in json.loads(duplicates.read_text())["groups"]:
        assert len({rows[name] for name in group}) == 1


def test_duplicates_of_another_dataset_are_refused(dataset: Path, tmp_path: Path) -> None:
    path = tmp_path / "others.json"
    path.write_text(json.dumps({"groups": [["x/1.jpg", "x/2.jpg"]]}))
    with pytest.raises(DataError, match="is of another dataset: none of its images is in SOURCE"):
        suggest_splits(dataset, tmp_path / "s.csv", SplitOptions(duplicates=path))
    assert not (tmp_path / "s.csv").exists()


def test_a_seed_decides_and_the_order_of_files_does_not(dataset: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        suggest_splits(dataset, tmp_path / f"{name}.csv", SplitOptions(seed=seed))
    a, b, c = ((tmp_path / f"{name}.csv").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_groups_of_a_table_are_in_every_part(dataset: Path, tmp_path: Path) -> None:
    with (tmp_path / "groups.csv").open("w") as file:
        file.write("id,tone\n")
        for index in range(40):
            file.write(f"cat/{index:02}.png,{'light' if index % 4 else 'dark'}\n")
    options = SplitOptions(
        fractions={"train": 0.5, "val": 0.25, "test": 0.25},
        groups=tmp_path / "groups.csv",
        by=("tone",),
    )
    done = suggest_splits(dataset, tmp_path / "s.csv", options)
    assert (
        done.strata["dark"] == {"train": 5, "val": 3, "test": 2}
        or sum(done.strata["dark"].values()) == 10
    )
    assert all(count >= 2 for count in done.strata["dark"].values())
    assert sum(done.strata["unknown"].values()) == 20
    in_memory = replace(options, groups=pd.read_csv(tmp_path / "groups.csv"))
    again = suggest_splits(dataset, tmp_path / "again.csv", in_memory)
    assert again.strata == done.strata
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "s.csv").read_bytes()


@pytest.mark.parametrize(
    "values",
    [{"fractions": {"train": 1.0}}, {"fractions": {"a": 0.5, "b": 0.6}}, {"by": ("x",)}],
)
def test_options_out_of_range_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        SplitOptions(**values)  # type: ignore[arg-type]


def test_the_command_writes_the_table(dataset: Path, duplicates: Path, tmp_path: Path) -> None:
    def run(*words: object) -> object:
        return CliRunner().invoke(cli, ["balance", str(dataset), *map(str, words)])

    done = run(
        "--strategy", "split", "--duplicates", duplicates, "-o", tmp_path / "s.csv", "--json"
    )
    assert done.exit_code == 0, done.output  # type: ignore[attr-defined]
    assert json.loads(done.stdout)["together"] == 11  # type: ignore[attr-defined]
    (tmp_path / "bad.json").write_text("{}")
    wrong = run(
        "--strategy", "split", "--duplicates", tmp_path / "bad.json", "-o", tmp_path / "t.csv"
    )
    assert isinstance(wrong.exception, DataError)  # type: ignore[attr-defined]
    wrong = run("--strategy", "split", "--fractions", "x", "-o", tmp_path / "t.csv")
    assert "cannot be read" in str(wrong.exception)  # type: ignore[attr-defined]
    wrong = run("--strategy", "subset", "--fractions", "a=1", "-o", tmp_path / "t.csv")
    assert "for --strategy split" in str(wrong.exception)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["split", "split/", "split.parquet", "folder.csv"])
def test_a_split_is_a_csv_table_and_no_folder(name: str, dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UsageError, match=r"no folder; give a file that ends in \.csv"):
        suggest_splits(dataset, f"{tmp_path}/{name}")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []
