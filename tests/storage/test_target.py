from __future__ import annotations

from pathlib import Path

import pytest

from curate.core.errors import UsageError
from curate.storage.target import check_output


@pytest.mark.parametrize(
    ("name", "form"),
    [("a.json", "json"), ("a", "json"), ("a.v2", "parquet"), ("a.HTM", "html"), ("a.csv", "csv")],
)
def test_a_new_file_of_the_format_is_accepted_and_not_made(
    name: str, form: str, tmp_path: Path
) -> None:
    check_output(tmp_path / name, form)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "form", "message"),
    [
        ("a.csv", "parquet", r"would be a Parquet table; give a name that ends in \.parquet"),
        ("a.html", "json", r"would be JSON; give a name that ends in \.json"),
        ("a.JSON", "html", r"would be an HTML page; give a name that ends in \.html"),
        ("a.txt", "csv", r"would be CSV"),
        (".", "json", "is a folder; give a file"),
        ("none/a.json", "json", "give a file in an existing folder"),
        ("a" * 252 + ".j", "json", "File name too long"),
    ],
)
def test_a_file_that_cannot_be_written_is_refused(
    name: str, form: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        check_output(tmp_path / name, form)
