from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import curate
from curate import Recipe
from curate.pipeline.person_names import count_names, find_names, is_name_of_file


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a photo of Ada Lovelace reading", ["Ada Lovelace"]),
        ("George W. Bush and Tony Blair", ["George W. Bush", "Tony Blair"]),
        ("Zoë Łuczak", ["Zoë Łuczak"]),
        ("a man on a horse", []),
        ("A man on a horse", []),
        ("COCO JSON FILE", []),
        ("lowercase names are missed: ada lovelace", []),
        ("Ada Lovelace in New York", ["Ada Lovelace"]),
        ("The Rolling Stones", ["The Rolling Stones"]),
        ("South Station, Los Angeles, The Beach", []),
        ('{"file_name": "Ada Lovelace 12.jpg", "path": "Ada Lovelace.PNG"}', []),
        ('"Ada Lovelace writes.jpg", Ada Lovelace (2).jpeg', ["Ada Lovelace"]),
    ],
)
def test_capitalized_words_in_a_row_are_possible_names(text: str, found: list[str]) -> None:
    assert find_names(text) == found


@pytest.mark.parametrize(
    ("stem", "is_name"),
    [
        ("George_W_Bush_0001", True),
        ("Ada-Lovelace", True),
        ("n02119022_11154", False),
        ("ILSVRC2012_val_00000001", False),
        ("DSC_0001", False),
        ("IMG_Portrait", False),
        ("000000000139", False),
        ("0_Parade_0_288", False),
        ("0_Parade_Parade_0_288", False),
        ("12_Group_Group_12_Group_Group_12_10", False),
        ("10_People_Marching_People_Marching_10_People_Marching_10_100", False),
        ("39_Ice_Skating_iceskiing_39_1", False),
        ("2_Demonstration_Political_Rally_2_637", False),
        ("People_Marching_People_Marching", False),
        ("New_York_3", False),
        ("San-Francisco", False),
        ("Boutros_Boutros_Ghali_0002", True),
        ("12_Ada_Lovelace_3", True),
        ("portrait_of_Ada_Lovelace", True),
    ],
)
def test_file_names_that_may_be_names_of_people(stem: str, is_name: bool) -> None:
    assert is_name_of_file(stem) == is_name


def test_names_in_a_finished_output_are_counted_without_changing_it(
    photos: Path, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(photos / "val/coins/coins.png", source / "Ada_Lovelace_0001.png")
    captions = {
        "images": [{"id": 1, "file_name": "Ada_Lovelace_0001.png"}],
        "annotations": [{"image_id": 1, "caption": "Ada Lovelace and Charles Babbage"}],
    }
    (source / "captions.json").write_text(json.dumps(captions))
    curate.blur(source, tmp_path / "out", Recipe(profile="fast"))
    names = count_names(tmp_path / "out")
    assert (names.texts, names.files) == (2, 1)
    assert names.examples == ("Ada_Lovelace_0001.png", "Ada Lovelace", "Charles Babbage")
    assert json.loads((tmp_path / "out/data/captions.json").read_text()) == captions
