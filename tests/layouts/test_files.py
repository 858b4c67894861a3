from __future__ import annotations

import pytest

from curate.layouts.files import split_in, split_of_folders


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
