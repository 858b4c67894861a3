from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from curate.core.errors import DataError
from curate.publishing.card.header import check_header, format_header, make_header, split_card
from curate.publishing.card.questions import format_template, parse_answers
from curate.publishing.card.render import find_embedded
from curate.publishing.form import Form
from tests.conftest import ROOT
from tests.publishing.outs import ANSWERS, answer

FORM = Form(
    name="parquet",
    note="",
    builder="parquet",
    data_files={"train": ("data/train-*.parquet",), "test": ("data/a.parquet", "data/b.parquet")},
    features=[{"name": "image", "dtype": "image"}],
    splits={"train": 900, "test": 200},
    sizes={"train": 1, "test": 2},
    rows={"train": 900, "test": 200},
)


def header(before: dict[str, Any] | None = None, **values: str) -> dict[str, Any]:
    text = answer(format_template(), **{**ANSWERS, **values})
    return make_header(parse_answers(text, "card.toml"), FORM, before)


@pytest.mark.parametrize("name", ["card-1.schema.json", "attack-1.schema.json"])
def test_the_schema_in_the_package_is_the_one_in_manifests(name: str) -> None:
    packaged = (ROOT / "curate/publishing/card" / name).read_bytes()
    assert packaged == (ROOT / "manifests" / name).read_bytes()
    jsonschema.Draft202012Validator.check_schema(json.loads(packaged))


def test_a_header_passes_its_schema_and_comes_back_from_yaml() -> None:
    made = header()
    check_header(made)
    found, body = split_card(f"---\n{format_header(made)}---\n\n# Title\n")
    assert found == made
    assert body == "\n# Title\n"
    assert made["size_categories"] == ["1K<n<10K"]
    assert made["configs"] == [
        {
            "config_name": "default",
            "data_files": [
                {"split": "train", "path": "data/train-*.parquet"},
                {"split": "test", "path": ["data/a.parquet", "data/b.parquet"]},
            ],
        }
    ]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"license": '"cc-by-4"'}, r"license: 'cc-by-4' is not in the Hub's list.*cc-by-4\.0"),
        (
            {"task_categories": '["image-clasification"]'},
            r"task_categories\.0: 'image-clasification'.*did you mean image-classification",
        ),
    ],
)
def test_values_outside_the_hubs_lists_are_refused(values: dict[str, str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        check_header(header(**values))


def test_another_license_needs_name_and_link() -> None:
    made = header(
        license='"other"', license_name='"mine-1.0"', license_link='"https://example.org/l"'
    )
    check_header(made)
    assert made["license_name"] == "mine-1.0"
    del made["license_link"]
    with pytest.raises(DataError, match="license_link"):
        check_header(made)


def test_what_others_added_survives_and_stale_features_do_not() -> None:
    before = {
        "license": "mit",
        "arxiv": "2401.00001",
        "tags": ["image", "by-hand"],
        "dataset_info": [
            {
                "features": [{"name": "old", "dtype": "string"}],
                "download_size": 5,
                "splits": [
                    {"name": "train", "num_bytes": 77, "num_examples": 900},
                    {"name": "test", "num_bytes": 88, "num_examples": 200},
                ],
            },
            {"config_name": "extra", "features": [{"name": "x", "dtype": "int64"}]},
        ],
    }
    made = header(before)
    check_header(made)
    assert made["license"] == "cc-by-4.0"
    assert made["arxiv"] == "2401.00001"
    assert "by-hand" in made["tags"]
    own, extra = made["dataset_info"]
    assert own["features"] == [{"name": "image", "dtype": "image"}]
    assert own["download_size"] == 5
    assert own["splits"][0] == {"name": "train", "num_bytes": 77, "num_examples": 900}
    assert extra["config_name"] == "extra"


def test_sizes_of_another_version_are_dropped() -> None:
    before = {
        "dataset_info": {
            "features": [],
            "download_size": 5,
            "splits": [{"name": "train", "num_bytes": 77, "num_examples": 1}],
        }
    }
    info = header(before)["dataset_info"]
    assert "download_size" not in info
    assert info["splits"][0] == {"name": "train", "num_bytes": 1, "num_examples": 900}


@pytest.mark.parametrize("text", ["---\n[\n---\n", "---\n- a\n---\n"])
def test_a_header_that_is_no_mapping_is_one_line(text: str) -> None:
    with pytest.raises(DataError, match=r"README\.md: its header"):
        split_card(text)


@pytest.mark.parametrize(
    "name",
    ["<script>alert(1)<script>", "a <svg onload=x>", "data:image/png;base64,AAAA", "<!-- x",
     "a: < b\ue000", "<object>\ue000'\"\\x3C"],
)  # fmt: skip
def test_names_of_classes_open_no_element_in_a_header_and_come_back(name: str) -> None:
    names = {"0": "cat", "1": name}
    features = [
        {"name": "image", "dtype": "image"},
        {"name": name, "dtype": {"class_label": {"names": names}}},
    ]
    answers = parse_answers(answer(format_template(), **ANSWERS), "card.toml")
    value = make_header(answers, replace(FORM, features=features))
    text = format_header(value)
    assert find_embedded(text) is None
    assert "<!--" not in text
    assert split_card(f"---\n{text}---\n")[0] == value
    assert "n<1K" in text or "1K<n" in text


def test_terms_that_could_hold_a_picture_are_still_found_in_a_header() -> None:
    assert find_embedded(format_header(header(terms='"<svg>"')))
