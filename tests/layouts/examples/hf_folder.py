from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from tests.layouts.examples.example import Example, add, cut, jpeg, png, remove, replace, write

META = "train/metadata.jsonl"


def build(root: Path) -> None:
    write(root, "train/a.jpg", jpeg(1))
    write(root, "train/deep/b.png", png(2))
    write(root, "test/c.jpg", jpeg(3))
    rows = [
        {"file_name": "a.jpg", "text": "ein Hund, ☺", "boxes": [[1, 2, 3, 4]]},
        {"file_name": "deep/b.png", "text": "zwei", "boxes": [[0, 1, 2, 3], [4, 5, 6, 7]]},
    ]
    write(root, META, "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows))
    row = {"file_name": "c.jpg", "text": "drei", "boxes": [[5, 6, 7, 8]]}
    write(root, "test/metadata.jsonl", f"{json.dumps(row)}\n")


def load(root: Path) -> Any:
    """The rows of `datasets`' own loader, with the stored bytes of the images."""
    import datasets

    with tempfile.TemporaryDirectory() as cache:
        loaded = datasets.load_dataset("imagefolder", data_dir=str(root), cache_dir=cache)
        plain = {
            name: part.cast_column("image", datasets.Image(decode=False))
            for name, part in loaded.items()
        }
        return {
            name: [
                {**row, "image": Path(row["image"]["path"]).read_bytes()} for row in part.to_list()
            ]
            for name, part in plain.items()
        }


EXAMPLE = Example(
    layout="hf_folder",
    build=build,
    splits={"train/a.jpg": "train", "train/deep/b.png": "train", "test/c.jpg": "test"},
    copied=frozenset({META, "test/metadata.jsonl"}),
    rows={
        "train/a.jpg": [{"text": "ein Hund, ☺"}],
        "train/deep/b.png": [{"text": "zwei"}],
        "test/c.jpg": [{"text": "drei"}],
    },
    columns=("text",),
    load=load,
    malformed={
        "cut off": (cut(META), r"train/metadata\.jsonl, line \d is not valid JSON"),
        "no name": (replace(META, '"file_name"', '"name"'), "line 1 has no file_name"),
        "no object": (add(META, '{"file_name": "a.jpg"}\n[1]\n'), "line 2 is not a JSON object"),
        "escapes": (replace(META, "a.jpg", "../test/c.jpg"), "leaves its folder"),
        "absolute": (replace(META, "a.jpg", "/etc/passwd.jpg"), "relative to the dataset"),
        "a URL": (replace(META, "a.jpg", "file://x/a.jpg"), "relative to the dataset"),
        "wrong type": (replace(META, '"a.jpg"', "7"), "file_name is 7, which names no file"),
        "a surrogate": (replace(META, '"a.jpg"', '"\\ud800"'), "names no file"),
        "not text": (add(META, b'{"file_name": "\xff"}'), "line 1 is not UTF-8"),
        "a broken CSV": (add("metadata.csv", 'file_name,x\na.jpg,"b\n'), r"metadata\.csv, line 3"),
        "a ragged CSV": (add("metadata.csv", "file_name\na.jpg,b\n"), "2 values for 1 columns"),
        "no Parquet": (add("metadata.parquet", "x"), "not a readable Parquet file"),
    },
    odd={
        "an image without a row": (add("train/z.jpg", jpeg(9)), r"1 images.*'train/z\.jpg'"),
        "a name twice": (
            replace(META, "deep/b.png", "a.jpg"),
            "1 images are named by several.*a.jpg",
        ),
        "an image that is missing": (
            remove("train/a.jpg"),
            "1 images named in the metadata.*'train/a.jpg'",
        ),
    },
)
