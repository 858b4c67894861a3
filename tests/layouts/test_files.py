from __future__ import annotations

import pytest

from curate.layouts.files import is_document_name, split_in, split_of_folders


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("instances_train2017", "train"),
        ("person_keypoints_val2017", "val"),
        ("image_info_test-dev2017", "test"),
        ("valid", "valid"),
        ("Training", "training"),
        ("trains", None),
        ("contest", None),
        ("cats_test", "test"),
        ("instances", None),
        ("", None),
    ],
)
def test_a_name_contains_a_split(name: str, split: str | None) -> None:
    assert split_in(name) == split


def test_folders_name_a_split_and_the_file_does_not() -> None:
    assert split_of_folders("images/val2017/train.jpg") == "val"
    assert split_of_folders("images/train.jpg") is None


@pytest.mark.parametrize(
    "name",
    [
        *("README", "readme.md", "README.dataset.txt", "README.roboflow.txt", "README.zh-CN.md"),
        *("README_ja.rst", "README (English).txt", "README.中文.md", "LICENSE-CC-BY-4.0.txt"),
        *("Licence.MIT", "LICENSES.txt", "COPYING.LESSER", "NOTICE", "CITATION.cff"),
        *("CITATION.bib", "data/LICENSE_images"),
    ],
)
def test_documents_have_any_language_and_suffix(name: str) -> None:
    assert is_document_name(name)


@pytest.mark.parametrize(
    "name",
    [
        *("README.json", "license.csv", "CITATION.xml", "license.yaml", "license_plates.txt"),
        *("LICENSE_0001.txt", "notices.txt", "readmes", "my_README.md", "LICENSE" + "-a" * 60),
    ],
)
def test_data_are_no_documents(name: str) -> None:
    assert not is_document_name(name)
