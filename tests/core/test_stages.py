from __future__ import annotations

import time

import pytest

from curate.core.stages import STAGES, format_times, stage, take_times


def busy(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_a_stage_does_not_count_the_stages_inside_it() -> None:
    take_times()
    with stage("detect"):
        busy(0.02)
        with stage("verify"):
            busy(0.03)
            with stage("hash"):
                busy(0.02)
        busy(0.01)
    spent = take_times()
    assert spent["detect"] >= 0.03
    assert spent["verify"] >= 0.03
    assert spent["hash"] >= 0.02
    # What is inside counts once: each stage has less than all of the time together.
    assert max(spent.values()) < sum(spent.values())
    assert sum(spent.values()) == pytest.approx(spent["detect"] + spent["verify"] + spent["hash"])


def test_a_stage_that_fails_is_counted_and_closed() -> None:
    take_times()
    with pytest.raises(ZeroDivisionError), stage("decode"):
        busy(0.01 / 0)
    with stage("decode"):
        busy(0.01)
    with stage("write"):
        busy(0.01)
    spent = take_times()
    assert spent["decode"] >= 0.01
    assert spent["write"] >= 0.01


def test_times_are_taken_once() -> None:
    with stage("encode"):
        busy(0.01)
    take_times()
    assert take_times() == dict.fromkeys(STAGES, 0.0)


def test_the_line_has_every_stage_per_image() -> None:
    line = format_times({"decode": 0.5, "write": 0.1}, 100)
    assert "decode 5.0" in line
    assert "write 1.0" in line
    assert "together 6.0" in line
    assert all(name in line for name in STAGES)
    assert "decode 0.0" in format_times({}, 0)
