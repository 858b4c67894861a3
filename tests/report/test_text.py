from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.report.text import name_classes, name_source, typeset, wrap


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 images: 1 written, 0 withheld.", "1 image: 1 written, 0 withheld."),
        ("1 faces hidden in 1 images.", "1 face hidden in 1 image."),
        ("1 images are named by several rows", "1 image is named by several rows"),
        ("1 labeled images, 1 labels have few", "1 labeled image, 1 label has few"),
        ("1 cells with a target share are empty", "1 cell with a target share is empty"),
        ("1 images of the test split have no face", "1 image of the test split has no face"),
        ("1 cells and 2 images are", "1 cell and 2 images are"),
        ("of the 1 images with faces", "of the 1 image with faces"),
        ("1 maximal uncovered patterns", "1 maximal uncovered pattern"),
        ("1 boxes, 1 classes, 1 people", "1 box, 1 class, 1 person"),
        ("1 faces from 1 candidates", "1 face from 1 candidate"),
        ("1 shards, 1 reviewers, 1 epochs", "1 shard, 1 reviewer, 1 epoch"),
        ("21 images, 1,001 images, 0.1 images", "21 images, 1,001 images, 0.1 images"),
        ("1 of 3 images, 1 of the images", "1 of 3 images, 1 of the images"),
        ("seed-1 images.jpg, n1 files", "seed-1 images.jpg, n1 files"),
        ("a change of -0.5 (-1.25 to 3)", "a change of −0.5 (−1.25 to 3)"),
        ("2020-01-01 is 3-4, --min-cell", "2020-01-01 is 3-4, --min-cell"),
        ("0.1 -> 0.2", "0.1 → 0.2"),
    ],
)
def test_texts_agree_with_their_counts(text: str, expected: str) -> None:
    assert typeset(text) == expected


@given(st.text("a1 ,.-images>facesof"))
def test_typesetting_twice_changes_nothing_more(text: str) -> None:
    assert typeset(typeset(text)) == typeset(text)


@given(st.lists(st.text("abc", min_size=1, max_size=12), max_size=60), st.integers(20, 100))
def test_prose_fits_the_width_and_keeps_its_words(words: list[str], width: int) -> None:
    wrapped = wrap(" ".join(words), width)
    assert wrapped.split() == words
    assert all(len(line) <= width for line in wrapped.splitlines())


def test_lines_of_tables_are_not_broken() -> None:
    line = f"  name{' ' * 60}12.5 %  (3.2 to 40.1)"
    assert wrap(line, 40) == line


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("n01440764", "n01440764 tench"),
        (
            "n01440764: gender f, n02102040.",
            "n01440764 tench: gender f, n02102040 English springer.",
        ),
        ("class n01440764. n01440764.tar", "class n01440764 tench. n01440764.tar"),
        ("(n03888257)", "(n03888257 parachute)"),
        ("n99999999, xn01440764, n014407640", "n99999999, xn01440764, n014407640"),
        ("val/n01440764/a.jpg, n01440764/b.jpg", "val/n01440764/a.jpg, n01440764/b.jpg"),
    ],
)
def test_class_names_are_beside_wordnet_ids_but_not_in_paths(text: str, expected: str) -> None:
    assert name_classes(text) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("photos", "photos"),
        ("out/data/", "out/data"),
        ("./out/data", "out/data"),
        ("../photos", "../photos"),
        ("/home/ann/photos", "photos"),
        ("hf:ann/photos", "hf:ann/photos"),
        ("s3://bucket/photos", "s3://bucket/photos"),
        ("https://ann:secret@host/photos?token=secret", "https://host/photos"),
    ],
)
def test_inputs_are_named_as_given_without_folders_of_the_machine(
    given: str, expected: str
) -> None:
    assert name_source(given) == expected


@pytest.mark.parametrize("given", [".", "./", ".."])
def test_the_current_folder_has_its_name(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path / "photos")
    assert name_source(given) == (tmp_path if given == ".." else tmp_path / "photos").name
