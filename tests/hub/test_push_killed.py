"""A push is killed at random moments and run again, as a real process, until it is done."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from curate.publishing.hub.upload import PROGRESS_MARK
from tests.conftest import ROOT
from tests.hub.server import Hub
from tests.publishing.outs import make_out, published_card, sealed_secrets

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


def arrived(hub: Hub) -> int:
    """How far a push is, whatever was sent again: files that arrived, and commits."""
    repo = hub.repos.get(REPO)
    return len(hub.uploads) + (len(repo.commits) if repo else 0)


def kill_when(process: subprocess.Popen[bytes], reached: Callable[[], bool]) -> bool:
    """Kill a process once a moment is reached; returns whether it was still alive."""
    while process.poll() is None and not reached():
        time.sleep(0.001)
    alive = process.poll() is None
    if alive:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return alive


def kill_at(hub: Hub, out: Path, moment: int) -> bool:
    """Start a push, and kill it at a moment, but not before it has done anything."""
    wanted = max(moment, arrived(hub) + 1)
    return kill_when(start(out), lambda: arrived(hub) >= wanted)


@pytest.mark.parametrize(
    ("count", "kills"),
    [(40, 2), pytest.param(2000, 20, marks=[pytest.mark.exhaustive, pytest.mark.timeout(1800)])],
)
def test_a_killed_push_goes_on_and_sends_nothing_twice(
    hub: Hub, tmp_path: Path, count: int, kills: int
) -> None:
    out = make_out(tmp_path, count)
    draw = random.Random(count)  # noqa: S311 - no secret
    # A push is never over when as many files and commits as there are images have arrived: more
    # files, the commits and the card are still to come.
    moments = sorted(draw.sample(range(1, count), kills))
    assert [moment for moment in moments if not kill_at(hub, out, moment)] == []
    # Its last requests are few; a push that ends before it is killed there is as good.
    for last in (lambda: PROGRESS_MARK not in readme(hub), lambda: bool(hub.repos[REPO].tags)):
        kill_when(start(out), last)
    assert start(out).wait() == 0, (tmp_path / "errors.txt").read_text()
    tree = hub.tree(REPO)
    images = {path for path in tree if path.startswith("data/")}
    assert len(images) == count + 1
    for path in images:
        assert tree[path] == (out / path).read_bytes()
    assert tree["README.md"] == published_card(out, REPO)
    assert list(hub.repos[REPO].tags.values()) == [hub.repos[REPO].head.oid]
    # A PUT that was killed within is sent again, but none arrives whole twice, in no commit either.
    assert set(hub.uploads.values()) == {1}
    added = Counter(path for commit in hub.repos[REPO].commits for path in commit.added)
    assert {path for path, times in added.items() if times > 1} <= {"README.md"}
    received = hub.received()
    for secret in sealed_secrets(tmp_path):
        assert secret not in received


def readme(hub: Hub) -> str:
    return hub.blobs[hub.repos[REPO].head.tree["README.md"]].decode()
