from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from curate.core.errors import DataError, SetupError
from curate.review.decisions import MAX_BOXES
from curate.review.journal import NAME, Journal, iter_events, last_decisions, load_header

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


FACE = {"xyxy": [0, 0, 2, 2], "state": "added", "origin": None, "frames": [0]}


@pytest.mark.parametrize(
    "line",
    [
        "5", "null", "[]", '"x"', "{}", '{"event": 5}', '{"event": []}', "[" * 100_000,
        '{"event": "decision"}', '{"event": "withdrawal"}', '{"event": "started"}',
        '{"event": "withdrawal", "id": ["a"], "reviewer": "ada"}',
        '{"event": "started", "images": "many"}', '{"event": "started", "images": -1}',
        '{"event": "note", "x": ' + "[" * 150 + "]" * 150 + "}",
        *(json.dumps({**DECISION, key: value}) for key, value in [
            ("faces", 5), ("faces", [5]), ("faces", [{"xyxy": [0, 0, 1]}]), ("size", [1]),
            ("role", "x"), ("reviewer", None), ("seconds", "x"), ("removed", "x"), ("size", None),
            ("faces", [{"xyxy": [9, 9, 0, 0], "state": "added", "origin": None, "frames": [0]}]),
            ("faces", [{**FACE, "xyxy": [0, 0, 1, 10**400]}]), ("faces", [{**FACE, "origin": -1}]),
            ("faces", [{**FACE, "origin": 2**31}]), ("faces", [{**FACE, "frames": [2**31]}]),
            ("faces", [{**FACE, "frames": [0.5]}]), ("faces", [FACE] * (MAX_BOXES + 1)),
            ("size", [0, 4]), ("size", [10**12, 4]), ("size", [True, 4]), ("seconds", -1),
            ("seconds", 10**400), ("seconds", float("inf")), ("seconds", float("nan")),
            ("removed", -1), ("id", "\ud800"), ("reviewer", "\ud800"),
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


def test_a_line_that_is_too_long_is_neither_written_nor_read(tmp_path: Path) -> None:
    with Journal(tmp_path, HEADER) as journal:
        journal.append(event("a"))
        with pytest.raises(DataError, match="takes more than 4,000,000 bytes and was not saved"):
            journal.append({**DECISION, "faces": [{**FACE, "frames": [0] * 1_500_000}]})
        journal.append(event("b"))
    assert ids(tmp_path) == ["a", "b"]
    with (tmp_path / NAME).open("a") as file:
        file.write("[" * 5_000_000)
    before = (tmp_path / NAME).stat().st_size
    for read in (lambda: list(iter_events(tmp_path)), lambda: Journal(tmp_path, HEADER)):
        with pytest.raises(DataError, match="too long for a decision"):
            read()
    assert (tmp_path / NAME).stat().st_size == before


def test_a_journal_that_is_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / NAME)
    with pytest.raises(DataError, match="cannot be read"):
        list(iter_events(tmp_path))


def test_last_decisions_are_of_every_reviewer_only_if_the_review_is_blind(tmp_path: Path) -> None:
    for blind, expected in ((False, [("a", "bob")]), (True, [("a", "ada"), ("a", "bob")])):
        folder = tmp_path / str(blind)
        folder.mkdir()
        with Journal(folder, {**HEADER, "blind": blind}) as journal:
            for name, reviewer in (("a", "ada"), ("a", "bob"), ("b", "bob")):
                journal.append({**DECISION, "id": name, "reviewer": reviewer})
            journal.append({**event("b"), "reviewer": "bob"})
        with last_decisions(folder) as table:
            rows = table.execute("SELECT decision FROM decisions ORDER BY id, reviewer").fetchall()
        found = [json.loads(text) for (text,) in rows]
        assert [(each["id"], each["reviewer"]) for each in found] == expected


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
