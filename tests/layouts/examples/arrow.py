from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.layouts.examples.example import Example, add, cut, remove, replace, write
from tests.layouts.examples.parquet import content
from tests.layouts.tables.samples import write_arrow

FILE = "data-00000-of-00001.arrow"
TRAIN = f"train/{FILE}"
STATE = "train/state.json"


def build(root: Path) -> None:
    write_arrow(root / "train", content(3, 1))
    write_arrow(root / "dev", content(1, 9))
    write(root, "dataset_dict.json", json.dumps({"splits": ["train", "dev"]}))


def load(root: Path) -> Any:
    """The rows and features of `datasets`' own loader."""
    import datasets

    found = datasets.load_from_disk(root)
    plain = found.cast_column("image", datasets.Image(decode=False))
    return {name: (found[name].features, part.to_list()) for name, part in plain.items()}


EXAMPLE = Example(
    layout="arrow",
    build=build,
    splits={
        f"dev/{FILE}/00000000": "dev",
        f"{TRAIN}/00000000": "train",
        f"{TRAIN}/00000001": "train",
        f"{TRAIN}/00000002": "train",
    },
    copied=frozenset(
        {
            "dataset_dict.json",
            *(
                f"{split}/{name}.json"
                for split in ("dev", "train")
                for name in ("state", "dataset_info")
            ),
        }
    ),
    rows={
        f"dev/{FILE}/00000000": [{"text": "row 0"}],
        **{f"{TRAIN}/0000000{row}": [{"text": f"row {row}"}] for row in range(3)},
    },
    columns=("text",),
    aliases=frozenset(
        {
            ("0.img", f"dev/{FILE}/00000000"),
            *((f"{row}.img", f"{TRAIN}/0000000{row}") for row in range(3)),
        }
    ),
    load=load,
    broken={
        "cut off": (cut(TRAIN), r"data-00000-of-00001\.arrow.*not a valid"),
        "no stream": (add(TRAIN, "no stream at all"), "is not a valid Arrow file"),
        "a state cut off": (cut(STATE), r"train/state\.json.*not a JSON object"),
        "no state": (remove(STATE), r"train/state\.json.*is not in"),
        "not there": (remove(TRAIN), "which state.json names"),
        "escapes": (replace(STATE, FILE, f"../dev/{FILE}"), "not the name of a file next to it"),
        "a split that escapes": (
            replace("dataset_dict.json", "dev", "../x"),
            "not the name of a file",
        ),
        "shuffled": (add("train/indices.arrow", ""), "flatten_indices"),
    },
)
