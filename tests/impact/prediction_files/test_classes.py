from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from curate.core.errors import DataError
from curate.impact.prediction_files import load_classes

FILE = Path("predictions.npz")


@pytest.mark.parametrize("text", ["cat\ndog\n", '["cat", "dog"]', "\ufeffcat\ndog"])
def test_names_are_a_line_each_or_a_list(tmp_path: Path, text: str) -> None:
    (tmp_path / "names").write_text(text, encoding="utf-8")
    classes = load_classes(str(tmp_path / "names"))
    assert classes.names == ("cat", "dog")
    found = classes.find(np.array([["dog", "cat"]], dtype=object), ["a"], FILE)
    assert found.tolist() == [[1, 0]]
    assert classes.find(np.array([1]), ["a"], FILE).tolist() == [1]


def test_a_number_is_so_many_classes_without_names() -> None:
    classes = load_classes("3")
    assert classes.names == ("0", "1", "2")
    with pytest.raises(DataError, match=r"names classes, such as '1'; give the list of names"):
        classes.find(np.array(["1"]), ["a"], FILE)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "is empty"),
        ("[]", "is empty"),
        ("cat\n\ndog\n", "has an empty class at place 1"),
        ('["cat", ""]', "has an empty class at place 1"),
        ('["cat", 3]', "has an empty class at place 1"),
        ("cat\ndog\ncat", "has 'cat' twice"),
        ("[1,", "is no JSON"),
    ],
)
def test_a_list_that_cannot_be_used_is_refused(tmp_path: Path, text: str, line: str) -> None:
    (tmp_path / "names").write_text(text)
    with pytest.raises(DataError, match=line):
        load_classes(str(tmp_path / "names"))


def test_a_list_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        load_classes(str(tmp_path / "absent"))
    (tmp_path / "names").write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(DataError, match="is no UTF-8 text"):
        load_classes(str(tmp_path / "names"))


@pytest.mark.parametrize("value", [-1, 2])
def test_a_class_outside_is_named_with_its_image(value: int) -> None:
    with pytest.raises(DataError, match=rf"has the class {value} for 'b', which is none of the 2"):
        load_classes("2").find(np.array([0, value]), ["a", "b"], FILE)
