from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from tests.layouts.examples.example import Damage, Example, add, cut, jpeg, png
from tests.layouts.tables.samples import IMAGE, table, write_compacted, write_parquet

TRAIN = "data/train-00000-of-00001.parquet"
TEST = "data/test-00000-of-00001.parquet"


def content(rows: int, seed: int, **columns: Any) -> pa.Table:
    pictures = [(jpeg, png)[row % 2](seed + row) for row in range(rows)]
    images = [{"bytes": data, "path": f"{row}.img"} for row, data in enumerate(pictures)]
    return table(rows, **{"image": pa.array(images, IMAGE), **columns})


def build(root: Path) -> None:
    write_parquet(root / TRAIN, content(3, 1), row_group_size=2)
    write_parquet(root / TEST, content(1, 9), compression="zstd")
    write_compacted(root / "classes.parquet", pa.table({"name": ["cat", "dog"]}))


def load(root: Path) -> Any:
    """The rows and features of `datasets`' own loader."""
    import datasets

    with tempfile.TemporaryDirectory() as cache:
        files = {"train": str(root / TRAIN), "test": str(root / TEST)}
        found = datasets.load_dataset("parquet", data_files=files, cache_dir=cache)
        plain = found.cast_column("image", datasets.Image(decode=False))
        return {name: (found[name].features, part.to_list()) for name, part in plain.items()}


def column(**columns: Any) -> Damage:
    return lambda root: write_parquet(root / TRAIN, content(1, 1, **columns)) and None


BROKEN: Mapping[str, tuple[Damage, str]] = {
    "cut off": (cut(TRAIN), r"train-00000-of-00001\.parquet.*not a valid"),
    "no table": (add(TRAIN, "no table at all"), r"is not a valid Parquet file"),
    "a list": (column(many=pa.array([[]], pa.list_(IMAGE))), "'many'.*lists of images"),
    "escapes": (column(**{"../mask": pa.array([None], IMAGE)}), "not a valid file name"),
}

EXAMPLE = Example(
    layout="parquet",
    build=build,
    splits={
        f"{TEST}/00000000": "test",
        f"{TRAIN}/00000000": "train",
        f"{TRAIN}/00000001": "train",
        f"{TRAIN}/00000002": "train",
    },
    copied=frozenset({"classes.parquet"}),
    rows={
        f"{TEST}/00000000": [{"label": None, "text": "row 0"}],
        f"{TRAIN}/00000000": [{"label": None, "text": "row 0"}],
        f"{TRAIN}/00000001": [{"label": "cat", "text": "row 1"}],
        f"{TRAIN}/00000002": [{"label": "dog", "text": "row 2"}],
    },
    columns=("label", "text", "absent"),
    aliases=frozenset(
        {
            ("0.img", f"{TEST}/00000000"),
            *((f"{row}.img", f"{TRAIN}/0000000{row}") for row in range(3)),
        }
    ),
    load=load,
    broken=BROKEN,
)
