from __future__ import annotations

import numpy as np
import pytest

from curate.core.errors import DataError, UsageError
from curate.impact.train.splits import TEST, TRAIN, UNUSED, Images, check_classes, split_images


def listed(splits: list[str | None], labels: list[int], classes: int = 2) -> Images:
    names = tuple(dict.fromkeys(splits))
    return Images(
        splits=names,
        split=np.array([names.index(split) for split in splits]),
        classes=tuple("abcdef"[:classes]),
        labels=np.array(labels),
        draws=np.random.default_rng(0).integers(0, 2**63, len(labels)).astype(np.uint64),
    )


def test_dataset_splits_are_used() -> None:
    splits = ["train", "Training", "val", "test", "extra", None, "train"]
    found = split_images(listed(splits, [0, 1, 0, 1, 0, 0, -1]), None)
    assert found.uses.tolist() == [TRAIN, TRAIN, TEST, TEST, UNUSED, UNUSED, UNUSED]
    assert found.holdout is None
    assert found.by_split == {"train": 1, "Training": 1, "val": 1, "test": 1}
    assert found.left_out == {"without_class": 1, "other_splits": 2}


@pytest.mark.parametrize("split", [None, "train", "val"])
def test_one_split_holds_out_a_share_of_every_class(split: str | None) -> None:
    labels = [0] * 20 + [1] * 5 + [2] * 2 + [-1]
    given = listed([split] * 28, labels, 3)
    found = split_images(given, None)
    held = np.bincount(given.labels[found.uses == TEST], minlength=3)
    assert held.tolist() == [4, 1, 1]
    assert found.uses[-1] == UNUSED
    assert found.holdout == 0.2
    half = split_images(given, 0.5)
    assert np.bincount(given.labels[half.uses == TEST]).tolist() == [10, 2, 1]


def test_unlabeled_test_split_is_ignored() -> None:
    """Test images without classes, as ImageNet's are, are no split to test on."""
    found = split_images(listed(["train"] * 4 + ["test"] * 2, [0, 0, 1, 1, -1, -1]), None)
    assert found.uses.tolist().count(TEST) == 2
    assert found.left_out["without_class"] == 2


def test_options_that_contradict_the_dataset_are_refused() -> None:
    with pytest.raises(UsageError, match="ORIGINAL has train, val"):
        split_images(listed(["train", "val"], [0, 0]), 0.2)
    with pytest.raises(DataError, match="no image of ORIGINAL has a class"):
        split_images(listed(["train", "val"], [-1, -1]), None)


def test_a_class_without_images_is_named() -> None:
    labels, places = np.array([0, 0, 1, 2, 2]), np.array([TRAIN, TEST, TRAIN, TEST, TEST])
    with pytest.raises(DataError, match="the class 'c' has no training image; every class"):
        check_classes(("a", "b", "c"), labels, places)
    with pytest.raises(DataError, match="the class 'b' has no test image; every class"):
        check_classes(("a", "b"), labels[:3], places[:3])
    with pytest.raises(DataError, match=r"'b' has no test image \(and 1 more classes have none\)"):
        check_classes(
            ("a", "b", "c"), np.array([0, 0, 1, 2]), np.array([TRAIN, TEST, TRAIN, TRAIN])
        )
    with pytest.raises(DataError, match="only one class, 'a'"):
        check_classes(("a",), labels, places)
