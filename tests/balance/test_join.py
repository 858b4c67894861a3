from __future__ import annotations

from pathlib import Path

import pytest

from curate.balance.join import Match, open_join
from curate.core.errors import DataError

TABLE = Path("people.csv")


def join(ids: list[str], records: list[str]) -> tuple[Match, dict[str, list[str]]]:
    """How ids fit records, and which ids each record is given."""
    with open_join() as annotations:
        annotations.add_lines(((name, {"id": name}) for name in ids), once=False, table=TABLE)
        annotations.add_records((name, {}) for name in records)
        fit = annotations.match()
        rows = {each.name: [row["id"] for row in each.rows] for each in annotations.iter_rows()}
        return fit, rows


def test_the_same_id_means_the_record_whatever_else_ends_with_it() -> None:
    _, rows = join(["1.jpg", "a/1.jpg"], ["1.jpg", "a/1.jpg", "b/1.jpg"])
    assert rows == {"1.jpg": ["1.jpg"], "a/1.jpg": ["a/1.jpg"], "b/1.jpg": []}


def test_an_end_that_is_unique_is_enough_on_either_side() -> None:
    _, rows = join(["2.jpg", "images/3.jpg"], ["train/2.jpg", "3.jpg"])
    assert rows == {"3.jpg": ["images/3.jpg"], "train/2.jpg": ["2.jpg"]}


def test_an_end_is_whole_names_of_folders_and_files() -> None:
    fit, _ = join(["2.jpg"], ["12.jpg", "a/12.jpg"])
    assert fit.unmatched_examples == ("2.jpg",)


def test_what_could_be_meant_in_two_ways_is_given_to_none() -> None:
    fit, rows = join(["1.jpg", "x/2.jpg", "y/2.jpg"], ["a/1.jpg", "b/1.jpg", "2.jpg"])
    assert rows == {"2.jpg": [], "a/1.jpg": [], "b/1.jpg": []}
    assert (fit.matched, fit.ambiguous, fit.unmatched) == (0, 3, 0)
    assert fit.ambiguous_examples == ("1.jpg", "x/2.jpg", "y/2.jpg")


def test_the_longest_end_wins() -> None:
    _, rows = join(["b/1.jpg", "1.jpg"], ["a/b/1.jpg", "c/1.jpg"])
    assert rows == {"a/b/1.jpg": ["b/1.jpg"], "c/1.jpg": ["1.jpg"]}


def test_several_rows_of_an_id_come_in_their_order() -> None:
    with open_join() as annotations:
        people = [("1.jpg", {"age": 3}), ("2.jpg", {"age": 9}), ("1.jpg", {"age": 1})]
        assert annotations.add_lines(people, once=False, table=TABLE) == 2
        annotations.add_records([("1.jpg", {"split": "val"})])
        fit = annotations.match()
        [found] = annotations.iter_rows()
        assert found == ("1.jpg", {"split": "val"}, [], [{"age": 3}, {"age": 1}])
        assert (fit.lines, fit.ids, fit.records, fit.unmatched) == (3, 2, 1, 1)


def test_an_id_that_comes_twice_is_an_error_where_records_count() -> None:
    with open_join() as annotations, pytest.raises(DataError, match=r"'1.jpg' is duplicated"):
        annotations.add_lines([("1.jpg", {}), ("1.jpg", {})], once=True, table=TABLE)


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (["a/1", "2"], {"a/1.jpg": ["a/1"], "b/2.png": ["2"], "b/3.png": [], "c/3.png": []}),
        (["3", "1"], {"a/1.jpg": ["1"], "b/2.png": [], "b/3.png": [], "c/3.png": []}),
        (["b/3", "3"], {"a/1.jpg": [], "b/2.png": [], "b/3.png": ["b/3"], "c/3.png": ["3"]}),
    ],
)
def test_ids_without_the_suffix_are_matched(ids: list[str], expected: dict[str, list[str]]) -> None:
    _, rows = join(ids, list(expected))
    assert rows == expected
