from __future__ import annotations

import pytest

from curate.balance.groups import MISSING, Bins, Reading, Unit, parse_bins, read_units
from curate.core.errors import DataError, UsageError

BY = Reading(attributes=("gender", "age"), labels=("job",))
PEOPLE = Reading(attributes=("gender", "age"), labels=("job",), per="person")


def test_a_record_has_one_group_of_each_attribute() -> None:
    [unit] = read_units([{"gender": "F", "age": 31, "job": "nurse"}], BY)
    assert unit == Unit(("F", "31"), (("nurse",),))


@pytest.mark.parametrize("nothing", [None, "", "  ", float("nan")])
def test_what_is_missing_is_a_group(nothing: object) -> None:
    [unit] = read_units([{"gender": nothing}], BY)
    assert unit == Unit((MISSING, MISSING), ((MISSING,),))
    assert list(read_units([], BY)) == list(read_units([], PEOPLE)) == [unit]


def test_a_record_with_several_people_is_of_the_group_of_them_all() -> None:
    [unit] = read_units([{"gender": ["M", "F", "M"], "age": [30, 40, 30], "job": "x"}], BY)
    assert unit.groups == ("F+M", "30+40")


def test_everyone_in_a_record_counts_where_people_are_counted() -> None:
    row = {"gender": ["M", "F", None], "age": [30, 40, 30], "job": ["x", "y"]}
    groups = [unit.groups for unit in read_units([row], PEOPLE)]
    assert groups == [("M", "30"), ("F", "40"), (MISSING, "30")]
    assert {unit.labels for unit in read_units([row], PEOPLE)} == {(("x", "y"),)}


def test_what_is_said_once_is_said_of_everyone() -> None:
    row = {"gender": ["M", "F"], "age": "old"}
    assert [unit.groups for unit in read_units([row], PEOPLE)] == [("M", "old"), ("F", "old")]


def test_each_row_of_a_record_is_a_person() -> None:
    rows = [{"gender": "M", "age": "1"}, {"gender": "F"}]
    groups = [unit.groups for unit in read_units(rows, PEOPLE)]
    assert groups == [("M", "1"), ("F", MISSING)]


def test_people_who_cannot_be_told_apart_are_an_error() -> None:
    with pytest.raises(DataError, match="2 values of age and 3 of another"):
        list(read_units([{"gender": ["M", "F", "F"], "age": [1, 2]}], PEOPLE))


def test_several_values_can_stand_in_one_text() -> None:
    reading = Reading(attributes=("gender",), separator=";")
    [unit] = read_units([{"gender": "M; F"}], reading)
    assert unit.groups == ("F+M",)


def test_numbers_fall_into_named_ranges() -> None:
    name, bins = parse_bins("age=child<18,adult<65.5,old")
    assert (name, bins) == ("age", Bins(("child", "adult", "old"), (18.0, 65.5)))
    placed = [bins.find(number) for number in (-1, 17.9, 18, 65.4, 65.5)]
    assert placed == ["child", "child", "adult", "adult", "old"]
    assert parse_bins("age=18,65")[1].names == ("<18", "18 to <65", "≥65")


def test_binned_columns_hold_numbers_as_texts_or_not() -> None:
    reading = Reading(attributes=("age",), bins=dict([parse_bins("age=18")]))
    rows = [{"age": value} for value in (3, "18", " ", None, 17.5, True)]
    groups = [unit.groups[0] for row in rows for unit in read_units([row], reading)]
    assert groups == ["<18", "≥18", MISSING, MISSING, "<18", "<18"]


@pytest.mark.parametrize(
    "value", ["old", "inf", "-Infinity", "1e400", "1_000", "１８", float("inf"), 10**400, [[1]]]
)
def test_binned_values_that_are_no_finite_numbers_are_errors(value: object) -> None:
    reading = Reading(attributes=("age",), bins=dict([parse_bins("age=18")]))
    with pytest.raises(DataError, match=r"age is binned, but .* is not a finite number"):
        list(read_units([{"age": value}], reading))


@pytest.mark.parametrize(
    "text", ["age", "age=", "=1,2", "age=2,1", "age=1,1", "age=a<x,b", "age=a<1,a", "age=<1,b",
             "age=a<1", "age=nan", "age=1_0", "age=１８", "age=a<1_0,b", "age=1e400",
             "age=a<1,b<2"],
)  # fmt: skip
def test_ranges_that_are_none_are_one_clear_line(text: str) -> None:
    with pytest.raises(UsageError, match="is not valid"):
        parse_bins(text)


def test_a_value_that_is_no_value_is_an_error() -> None:
    with pytest.raises(DataError, match="gender holds"):
        list(read_units([{"gender": {"a": 1}}], BY))
