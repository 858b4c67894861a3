from __future__ import annotations

import gc
import json
import tarfile
import warnings
from pathlib import Path
from typing import Any

from tests.layouts.examples.example import Example, add, cut, jpeg, png
from tests.layouts.shards import read_tar, write_tar

TAR = "train-0000.tar"


def build(root: Path) -> None:
    members = [
        ("b/0.jpg", jpeg(1)),
        ("b/0.json", json.dumps({"caption": "zwei Hunde, ☺"}).encode()),
        ("a.png", png(2)),
        ("a.seg.png", png(3)),
        ("a.cls", b"1"),
    ]
    write_tar(root / TAR, members)
    write_tar(root / "val/0.tar", [("c.jpg", jpeg(4)), ("c.cls", b"0")])
    (root / "sizes.json").write_text('{"train-0000.tar": 2}')


def load(root: Path) -> Any:
    """The samples of webdataset's own reader, in order."""
    import webdataset

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves files open
        samples = [
            {key: value for key, value in sample.items() if not key.endswith(("url__", "path__"))}
            for path in sorted(root.rglob("*.tar"))
            for sample in webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False)
        ]
        gc.collect()
    return samples


def member(name: str) -> Any:
    def damage(root: Path) -> None:
        write_tar(root / TAR, [*read_tar(root / TAR), (name, b"x")])

    return damage


def compress(root: Path) -> None:
    with tarfile.open(root / "more.tar.gz", "w:gz") as tar:
        tar.add(root / TAR, "a.jpg")


EXAMPLE = Example(
    layout="webdataset",
    build=build,
    splits={
        f"{TAR}/a.png": "train",
        f"{TAR}/a.seg.png": "train",
        f"{TAR}/b/0.jpg": "train",
        "val/0.tar/c.jpg": "val",
    },
    copied=frozenset({"sizes.json"}),
    rows={
        f"{TAR}/b/0.jpg": [{"caption": "zwei Hunde, ☺"}],
        f"{TAR}/a.png": [{"cls": "1", "category": "1"}],
        f"{TAR}/a.seg.png": [{"cls": "1", "category": "1"}],
        "val/0.tar/c.jpg": [{"cls": "0", "category": "0"}],
    },
    columns=("caption", "cls", "category"),
    load=load,
    broken={
        "cut off": (cut(TAR, 0.2), r"train-0000\.tar.*not a valid"),
        "no tar": (add(TAR, "no tar at all"), r"train-0000\.tar.*is not a valid tar file"),
        "empty": (add(TAR, ""), r"train-0000\.tar.*empty file"),
        "a name twice": (member("a.png"), "two members named 'a.png'"),
        "escapes": (member("b/../../c.jpg"), "points outside it"),
        "absolute": (member("/etc/c.jpg"), "points outside it"),
        "compressed": (compress, r"'more\.tar\.gz'.*decompress it"),
    },
)
