"""A push is killed at random moments and run again, as a real process, until it is done."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.hub.server import Hub
from tests.publishing.outs import make_out, sealed_secrets

REPO = "somebody/street-scenes"
PUSH = "from curate.cli.main import main; main()"


def start(out: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with out.with_name("errors.txt").open("wb") as errors:
        return subprocess.Popen(
            [sys.executable, "-c", PUSH, "push", str(out), REPO, "--quiet", "--workers", "1"],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )


def uploads(hub: Hub) -> int:
    """Requests that write."""
    return sum(method in ("PUT", "POST") for method, _ in hub.requests)


def kill_when(hub: Hub, process: subprocess.Popen[bytes], moment: int) -> bool:
    """Kill a process once that many requests have written; returns whether it was still alive."""
    while process.poll() is None and uploads(hub) < moment:
        time.sleep(0.001)
    alive = process.poll() is None
    if alive:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return alive


@pytest.mark.parametrize(
    ("count", "kills"),
    [(40, 2), pytest.param(2000, 20, marks=[pytest.mark.exhaustive, pytest.mark.timeout(1800)])],
)
def test_a_killed_push_goes_on_and_sends_nothing_twice(
    hub: Hub, tmp_path: Path, count: int, kills: int
) -> None:
    out = make_out(tmp_path, count)
    draw = random.Random(count)  # noqa: S311 - no secret
    span = count + 4 * (count // 100 + 4)  # about as many requests as one whole push makes
    moments = sorted(draw.sample(range(2, span), kills))
    killed = sum(kill_when(hub, start(out), moment) for moment in moments)
    assert killed >= kills - 1
    assert start(out).wait() == 0, (tmp_path / "errors.txt").read_text()
    tree = hub.tree(REPO)
    images = {path for path in tree if path.startswith("data/")}
    assert len(images) == count + 1
    for path in images:
        assert tree[path] == (out / path).read_bytes()
    # A PUT that was killed within is sent again, but none arrives whole twice, in no commit either.
    assert set(hub.uploads.values()) == {1}
    added = Counter(path for commit in hub.repos[REPO].commits for path in commit.added)
    assert {path for path, times in added.items() if times > 1} <= {"README.md"}
    received = hub.received()
    for secret in sealed_secrets(tmp_path):
        assert secret not in received
