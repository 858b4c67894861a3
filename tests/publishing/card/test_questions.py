from __future__ import annotations

import tomllib

import pytest

from curate.core.errors import DataError, ProblemsError
from curate.publishing.card.questions import QUESTIONS, format_template, parse_answers
from tests.publishing.outs import ANSWERS, answer


def test_the_template_is_toml_and_asks_every_question() -> None:
    text = format_template()
    found = tomllib.loads(text)
    assert set(found) >= {question.key.partition(".")[0] for question in QUESTIONS}
    for question in QUESTIONS:
        assert f"{question.key.partition('.')[2]} = " in text
        assert f"# {question.ask.splitlines()[0]}" in text


def test_an_unanswered_template_names_every_required_answer() -> None:
    with pytest.raises(ProblemsError) as raised:
        parse_answers(format_template(), "card.toml")
    required = [question.key for question in QUESTIONS if question.required]
    named = [key for key in required if f"{key} has no answer" in str(raised.value)]
    assert named == required
    assert len(raised.value.problems) == len(set(raised.value.problems))


def test_every_example_is_a_right_answer() -> None:
    """What the template shows as an example is of the right form, but for the dots."""
    text = format_template()
    values = {
        question.key.partition(".")[2]: question.example
        for question in QUESTIONS
        if "…" not in question.example
    }
    found = parse_answers(answer(text, **{**ANSWERS, **values}), "card.toml")
    assert found["dataset.title"] == "Street scenes"
    assert found["use.synthetic"] is False
    assert found["dataset.date"] == "2026-03-01"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"version": '"1.0"'}, r"dataset\.version is '1\.0'; want for example \"1\.0\.0\""),
        ({"date": '"soon"'}, r"dataset\.date is not a date, such as 2026-03-01"),
        ({"date": '"2026-02-30"'}, r"dataset\.date is not a date, such as 2026-03-01"),
        ({"date": "2026-03-01T10:00:00"}, r"dataset\.date is not a date"),
        ({"title": "3"}, r"dataset\.title is not a text, such as \"Street scenes\""),
        ({"days": "14.5"}, r"removal\.days is not a whole number, such as 14"),
        ({"days": '"soon"'}, r"removal\.days is 'soon'; want for example 14"),
        ({"email": '"somebody"'}, r"maintainer\.email is 'somebody'"),
        ({"authors": '"A"'}, r"authors is not a list of texts, such as \[\"Researcher, A\.\"\]"),
        ({"synthetic": '"no"'}, r"use\.synthetic is neither true nor false"),
        ({"license": '"other"'}, r"dataset\.license_name has no answer, and dataset\.license is"),
        ({"kind": '"robot"'}, r"maintainer\.kind is 'robot'; want one of person, organization"),
    ],
)
def test_a_wrong_answer_is_named_with_its_remedy(values: dict[str, str], message: str) -> None:
    text = answer(format_template(), **{**ANSWERS, **values})
    with pytest.raises(DataError, match=message):
        parse_answers(text, "card.toml")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("dataset.date", "2026-11-27", "2026-11-27"),
        ("dataset.date", '"2026-11-27"', "2026-11-27"),
        ("removal.days", "14", "14"),
        ("removal.days", '"14"', "14"),
        ("dataset.collected", "[2025, 2026-03-01]", ["2025", "2026-03-01"]),
        ("dataset.collected", '["2025-03"]', ["2025-03"]),
    ],
)
def test_dates_and_numbers_are_written_with_or_without_quotes(
    key: str, value: str, expected: object
) -> None:
    values = {**ANSWERS, key.partition(".")[2]: value}
    assert parse_answers(answer(format_template(), **values), "card.toml")[key] == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[datasett]\na = 1", r"unknown table \[datasett\] \(did you mean dataset\?\)"),
        ('[governance]\ngdpr-35 = "yes"', r"governance\.gdpr-35 is neither"),
        ('[[changelog]]\nversion = "1"', r"changelog\[0\] does not have a version, a date"),
        ("[", "is not valid TOML"),
    ],
)
def test_whatever_is_unknown_is_named(line: str, message: str) -> None:
    text = answer(format_template(), **ANSWERS).replace("[governance]\n", "")
    with pytest.raises(DataError, match=message):
        parse_answers(f"{text}\n{line}\n", "card.toml")


def test_an_unknown_key_is_named_with_the_nearest_one() -> None:
    text = answer(format_template(), **ANSWERS).replace("title =", "titel =", 1)
    with pytest.raises(DataError, match=r"dataset\.titel \(did you mean dataset\.title\?\)"):
        parse_answers(text, "card.toml")
