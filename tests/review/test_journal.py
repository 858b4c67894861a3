from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from curate.core.errors import DataError, SetupError
from curate.review.journal import NAME, Journal, iter_events, load_header

HEADER = {"review": "r", "task": "faces"}


def event(name: str) -> dict[str, str]:
    return {"event": "withdrawal", "id": name, "reviewer": "ada", "time": "now"}


def write(folder: Path, count: int) -> None:
    with Journal(folder, HEADER) as journal:
        for index in range(count):
            journal.append(event(f"{index}.jpg"))


def ids(folder: Path) -> list[str]:
    return [line["id"] for _, line in iter_events(folder) if line["event"] == "withdrawal"]


def test_lines_are_there_in_order_and_numbered(tmp_path: Path) -> None:
    with Journal(tmp_path, HEADER) as journal:
        assert journal.append(event("a")) == 2
        assert list(iter_events(tmp_path))[1] == (2, event("a"))
    with Journal(tmp_path, {**HEADER, "review": "other"}) as journal:
        assert journal.append(event("b")) == 3
    assert ids(tmp_path) == ["a", "b"]
    assert load_header(tmp_path)["review"] == "r"


def test_every_line_is_synchronized_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    real = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda file: (synced.append(os.fstat(file).st_size), real(file))
    )
    with Journal(tmp_path, HEADER) as journal:
        before = len(synced)
        journal.append(event("a"))
    assert synced[before:] == [(tmp_path / NAME).stat().st_size]


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_last_line_that_was_cut_off_loses_itself_only(tmp_path: Path, cut: int) -> None:
    write(tmp_path, 3)
    path = tmp_path / NAME
    path.write_bytes(path.read_bytes()[:-cut])
    assert ids(tmp_path) == ["0.jpg", "1.jpg"]
    with Journal(tmp_path, HEADER) as journal:
        assert journal.note is not None
        assert "journal.cut" in journal.note
        journal.append(event("again.jpg"))
    assert ids(tmp_path) == ["0.jpg", "1.jpg", "again.jpg"]
    assert (tmp_path / "journal.cut").read_bytes().startswith(b'{"event"')


def test_a_header_that_was_cut_off_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b'{"event": "hea')
    with Journal(tmp_path, HEADER):
        pass
    assert load_header(tmp_path)["review"] == "r"


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    write(tmp_path, 3)
    lines = (tmp_path / NAME).read_bytes().splitlines(keepends=True)
    (tmp_path / NAME).write_bytes(b"".join([*lines[:2], b"{oops\n", *lines[2:]]))
    with pytest.raises(DataError, match=r"line 3, is damaged.*backup"):
        list(iter_events(tmp_path))


DECISION = {
    "event": "decision", "id": "a", "sha256": "0", "size": [4, 4], "reviewer": "ada", "time": "now",
    "role": "queue", "via": "single", "seconds": 1, "faces": [], "removed": None, "found": None,
}  # fmt: skip


@pytest.mark.parametrize(
    "line",
    [
        "5", "null", "[]", '"x"', "{}", '{"event": 5}', '{"event": []}', "[" * 100_000,
        '{"event": "decision"}', '{"event": "withdrawal"}', '{"event": "started"}',
        '{"event": "withdrawal", "id": ["a"], "reviewer": "ada"}',
        '{"event": "started", "images": "many"}',
        *(json.dumps({**DECISION, key: value}) for key, value in [
            ("faces", 5), ("faces", [5]), ("faces", [{"xyxy": [0, 0, 1]}]), ("size", [1]),
            ("role", "x"), ("reviewer", None), ("seconds", "x"), ("removed", "x"), ("size", None),
            ("faces", [{"xyxy": [9, 9, 0, 0], "state": "added", "origin": None, "frames": [0]}]),
        ]),
        *(json.dumps({k: v for k, v in DECISION.items() if k != key}) for key in DECISION),
    ],
    ids=lambda line: line[:60],
)  # fmt: skip
def test_a_line_of_any_content_is_named_or_means_nothing(tmp_path: Path, line: str) -> None:
    write(tmp_path, 1)
    with (tmp_path / NAME).open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(DataError, match=r"line 3, is damaged"):
        list(iter_events(tmp_path))


def test_a_whole_decision_is_read(tmp_path: Path) -> None:
    with Journal(tmp_path, HEADER) as journal:
        journal.append(DECISION)
    assert [event for _, event in iter_events(tmp_path)][1] == DECISION


def test_other_files_and_newer_versions_are_refused(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text('{"event": "x"}\n')
    with pytest.raises(DataError, match="is not a journal"):
        list(iter_events(tmp_path))
    (tmp_path / NAME).write_text(json.dumps({"event": "header", "version": 99}) + "\n")
    with pytest.raises(DataError, match="newer release"):
        list(iter_events(tmp_path))
    with pytest.raises(DataError, match="holds no review"):
        list(iter_events(tmp_path / "none"))


def test_a_full_disk_is_an_error_and_leaves_no_half_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal(tmp_path, HEADER) as journal:
        journal.append(event("a"))
        real = os.write
        monkeypatch.setattr(os, "write", lambda file, data: real(file, data[:10]))
        with pytest.raises(SetupError, match="was not saved"):
            journal.append(event("b"))
        monkeypatch.undo()
        journal.append(event("c"))
    assert ids(tmp_path) == ["a", "c"]
