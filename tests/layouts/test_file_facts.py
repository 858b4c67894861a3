"""Sizes, checksums and fingerprints of the source's files are not in an output."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.layouts.rewriters import REWRITERS
from curate.layouts.sidecars.table import limit_schema
from curate.layouts.sidecars.text import copy_document
from curate.layouts.sidecars.values import Limits
from tests.layouts.test_sidecars import rewritten

STATE = {
    "_data_files": [{"filename": "data-00000-of-00001.arrow"}],
    "_fingerprint": "0123456789abcdef",
    "_format_kwargs": {},
    "_split": "train",
}


def digest(number: int) -> str:
    return hashlib.sha256(b"%d" % number).hexdigest()


def info(number: int) -> dict[str, Any]:
    """What `datasets` writes about files of which one number differs."""
    return {
        "features": {"num_bytes": {"dtype": "int64", "_type": "Value"}},
        "splits": {"train": {"name": "train", "num_bytes": number, "num_examples": 3}},
        "download_checksums": {"train.zip": {"num_bytes": number, "checksum": digest(number)}},
        "download_size": number,
        "dataset_size": number,
        "size_in_bytes": number,
        "license": "cc-by-4.0",
    }


def rewrite_info(value: Any) -> Any:
    return json.loads(rewritten(REWRITERS["info"], json.dumps(value).encode(), "x.json"))


@pytest.mark.parametrize("wrap", [lambda one: one, lambda one: {"default": one, "small": one}])
def test_descriptions_do_not_depend_on_the_bytes_of_the_source(wrap: Any) -> None:
    kept = rewrite_info(wrap(info(1)))
    assert kept == rewrite_info(wrap(info(10**9))) == rewrite_info(kept)
    assert "10000" not in json.dumps(kept)
    one = kept.get("default", kept)
    assert one["features"] == info(1)["features"]
    assert one["splits"] == {"train": {"name": "train", "num_examples": 3}}
    assert one["license"] == "cc-by-4.0"


def test_the_fingerprint_of_a_saved_dataset_is_of_what_is_written() -> None:
    kept = rewrite_info(STATE)
    assert kept == rewrite_info({**STATE, "_fingerprint": "f" * 16}) == rewrite_info(kept)
    assert kept["_fingerprint"] != STATE["_fingerprint"]
    assert {**kept, "_fingerprint": ""} == {**STATE, "_fingerprint": ""}
    assert kept != rewrite_info({**STATE, "_split": "test"})


def test_dropped_sizes_are_counted_and_absent_ones_are_not() -> None:
    limits = Limits()
    rewritten(REWRITERS["info"], json.dumps(info(5)).encode(), "x.json", limits)
    dropped = limits.content.to_dict()["dropped"]
    assert {key for keys in dropped.values() for key in keys} == {
        *("num_bytes", "download_checksums", "download_size", "dataset_size", "size_in_bytes")
    }
    quiet = Limits()
    empty = {**info(5), "download_checksums": None, "download_size": None}
    kept = json.loads(rewritten(REWRITERS["info"], json.dumps(empty).encode(), "x.json", quiet))
    assert kept["download_size"] is None
    assert kept["download_checksums"] is None


@pytest.mark.parametrize("key", ["huggingface", "pandas"])
def test_metadata_of_tables_have_no_fingerprint(key: str) -> None:
    def schema_of(number: int) -> Any:
        metadata = {"info": info(number), "fingerprint": f"{number:016x}"}
        return pa.schema([("x", pa.int64())], {key: json.dumps(metadata)})

    kept = limit_schema(schema_of(1), Limits())
    assert kept.metadata == limit_schema(schema_of(2), Limits()).metadata
    assert json.loads(kept.metadata[key.encode()])["info"]["features"] == info(1)["features"]
    limits = Limits()
    assert limit_schema(kept, limits).metadata == kept.metadata
    assert limits.content.count_dropped() == 0
    pq.write_metadata(kept, pa.BufferOutputStream())


README = """---
license: mit
dataset_info:
  features:
  - name: image
    dtype: image
  splits:
  - name: train
    num_bytes: {0}.0
    num_examples: 3
  download_size: {0}
  dataset_size: {0}.5
---

A photo has
  num_bytes: 5
"""


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_header_of_a_readme_has_no_sizes(end: str) -> None:
    texts = [README.format(number).replace("\n", end).encode() for number in (1, 10**9)]
    limits = Limits()
    kept = rewritten(REWRITERS["document"], texts[0], "README.md", limits)
    assert kept == rewritten(REWRITERS["document"], texts[1], "README.md")
    assert kept == rewritten(REWRITERS["document"], kept, "README.md")
    assert limits.content.count_dropped() == 3
    lines = kept.decode().split(end)
    assert [line for line in lines if "num" in line] == ["    num_examples: 3", "  num_bytes: 5"]
    assert rewritten(copy_document, texts[0], "README.md") == texts[0]


def test_digests_in_documents_are_reported() -> None:
    limits = Limits()
    text = "\n".join(f"photo {number} {number:064x}" for number in range(3))
    rewritten(REWRITERS["document"], text.encode(), "README.md", limits)
    [found] = limits.content.to_dict()["found"].values()
    assert found == {"hashes": {"(text)": 3}}


def test_a_fingerprint_does_not_depend_on_dropped_values() -> None:
    plain = rewrite_info(STATE)
    for number in range(3):
        thumbnail = [(17 * n + number) % 256 for n in range(4000)]
        assert rewrite_info({**STATE, "num_bytes": number, "thumbnail": thumbnail}) == plain


def test_a_fingerprint_in_the_metadata_of_a_table_is_written_again() -> None:
    schema = pa.schema([("a", pa.int64())], {"huggingface": json.dumps(STATE)})
    ((_, value),) = limit_schema(schema, Limits(())).metadata.items()
    assert json.loads(value)["_fingerprint"] == rewrite_info(STATE)["_fingerprint"]
    assert json.loads(value)["_fingerprint"] != STATE["_fingerprint"]
