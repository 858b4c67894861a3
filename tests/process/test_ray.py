"""A Ray cluster of three node processes: equal output, lost nodes, images that kill an actor."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from curate.core.errors import MissingExtraError, SetupError, UsageError
from curate.engine.ray import RayOptions, RayPool, import_ray
from curate.pipeline.environment import RemoteJob, load_mark, make_remote
from curate.pipeline.session import Session
from tests.conftest import ROOT
from tests.engine.jobs import Spell

from .conftest import CURATE, committed, start, wait_for

Fingerprint = Callable[[Path], dict[str, str]]
SECONDS = 400  # starting Ray and loading models takes a while on a busy machine
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs ray")


@dataclass(frozen=True)
class Nodes:
    address: str
    raylets: list[int]

    @property
    def options(self) -> tuple[str, ...]:
        return ("--engine", f"ray:{self.address}")


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "tests/process/ray_cluster.py")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env=environment, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if line.startswith("CLUSTER "):
                yield Nodes(**json.loads(line.removeprefix("CLUSTER ")))
                break
        else:
            pytest.fail("no Ray cluster started")
    finally:
        with suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=60)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = process.communicate(timeout=SECONDS)
    return process.returncode, said


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    try:
        found = [int(child) for child in children.read_text().split()]
    except OSError:
        return []
    return [pid, *(each for child in found for each in family(child))]


@needs_ray
@pytest.mark.slow
def test_ray_gives_the_same_output(
    nodes: Nodes, crowd: Path, undisturbed: Path, tmp_path: Path, fingerprint: Fingerprint
) -> None:
    out = tmp_path / "out"
    code, said = end(start(crowd, out, *nodes.options))
    assert code == 3, said
    assert fingerprint(out) == fingerprint(undisturbed)
    assert sorted(path.name for path in out.iterdir()) == ["data", "manifest"]


@needs_ray
@pytest.mark.slow
def test_verify_finds_the_same_on_ray(nodes: Nodes, undisturbed: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(undisturbed, tmp_path / "out"))
    first = next(path for path in sorted((out / "data").iterdir()) if path.suffix == ".jpg")
    first.write_bytes(first.read_bytes() + b"x")
    found = [
        subprocess.run(
            [*CURATE, "verify", str(out), "--quiet", *engine],
            stdout=subprocess.PIPE, text=True, timeout=SECONDS,
        )
        for engine in ((), nodes.options)
    ]  # fmt: skip
    assert found[0].returncode == found[1].returncode == 1
    assert sorted(found[0].stdout.splitlines()) == sorted(found[1].stdout.splitlines())
    assert first.name in found[1].stdout


SPELL = """
import sys
from pathlib import Path
from curate.core.records import ImageRecord
from curate.engine.local import Finished
from curate.engine.ray import RayOptions, RayPool
from curate.engine.shards import iter_shards
from curate.pipeline.environment import load_mark, make_remote
from tests.engine.jobs import Spell
work, ids = Path(sys.argv[2]), sys.argv[4:]
options = RayOptions(sys.argv[1], workers=2, timeout=float(sys.argv[3]))
marks = work / "marks"
pool = RayPool(options, lambda number: False, lambda number: load_mark(marks, number))
done = {}
records = (ImageRecord(id=name, uri=name) for name in ids)
job = make_remote(Spell(work), work / "state.json", marks)
for event in pool.run(job, iter_shards(records, 3)):
    if isinstance(event, Finished):
        done[event.shard] = event.result
print("\\n".join(line for number in sorted(done) for line in done[number]))
"""


@needs_ray
@pytest.mark.slow
def test_only_the_records_that_kill_or_hang_actors_are_withheld(
    nodes: Nodes, tmp_path: Path
) -> None:
    (tmp_path / "state.json").write_text("{}")
    ids = ["a", "b", "kill-once", "kill-always", "c", "d", "e", "f", "hang-always", "g"]
    done = subprocess.run(
        [sys.executable, "-c", SPELL, nodes.address, str(tmp_path), "8", *ids],
        capture_output=True, text=True, timeout=SECONDS,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()  # of this process alone: Ray prints nothing to it
    assert [line.split()[0] for line in lines] == ids
    withheld = [line for line in lines if "withheld" in line]
    assert [line.split()[0] for line in withheld] == ["kill-always", "hang-always"]
    assert "no progress within 8 s" in withheld[1]


@needs_ray
@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_killed_and_a_frozen_node_change_nothing(
    nodes: Nodes, crowd: Path, undisturbed: Path, tmp_path: Path, fingerprint: Fingerprint
) -> None:
    """The last test of the cluster, of which one node is left."""
    out = tmp_path / "out"
    process = start(crowd, out, *nodes.options, "--shard-timeout", "15", "--workers", "3")
    wait_for(lambda: committed(out) >= 3, SECONDS)
    frozen = family(nodes.raylets[2])
    os.kill(nodes.raylets[1], signal.SIGKILL)
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        code, said = end(process)
    finally:
        for pid in frozen:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    assert code == 3, said
    assert fingerprint(out) == fingerprint(undisturbed)


def test_without_ray_the_pip_line_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'curate-dataset\[ray\]'"):
        import_ray()


@needs_ray
@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_an_address_that_does_not_answer_is_one_line(
    form: str, crowd: Path, tmp_path: Path
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = form.format(free.getsockname()[1])
    code, said = end(start(crowd, tmp_path / "out", "--engine", f"ray:{address}"))
    assert code == 1
    assert f"no Ray cluster answers at {address} (Connection refused)" in said
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


@needs_ray
@pytest.mark.parametrize("address", ["nowhere", "host:", ":1", "host:99999", "ray://", "host:x"])
def test_what_is_not_an_address_is_refused(address: str, tmp_path: Path) -> None:
    pool = RayPool(RayOptions(address), lambda number: False, lambda number: -1, threading.Event())
    with pytest.raises(SetupError, match="is not the address of a Ray cluster"):
        list(pool.run(Spell(tmp_path), []))


@pytest.mark.parametrize("engine", ["", "Ray", "ray:", "slurm", "local:2", 3, None])
def test_an_unknown_engine_is_refused(engine: object) -> None:
    with pytest.raises(UsageError, match="give local, ray or ray:ADDRESS"):
        Session(engine=engine)  # type: ignore[arg-type]


@pytest.fixture
def remote(tmp_path: Path) -> RemoteJob:
    (tmp_path / "state.json").write_text("{}")
    return make_remote(Spell(tmp_path), tmp_path / "state.json")


def test_a_node_with_the_same_environment_is_accepted(remote: RemoteJob) -> None:
    assert callable(remote.open())


def test_a_node_that_differs_is_refused(remote: RemoteJob, tmp_path: Path) -> None:
    other = {**remote.libraries, "numpy": "1.0"}
    with pytest.raises(SetupError, match=r"other versions of packages .*numpy 1\.0"):
        replace(remote, libraries=other).open()
    with pytest.raises(SetupError, match="another build of curate-dataset"):
        replace(remote, code="0" * 64).open()
    (tmp_path / "state.json").write_text("[]")
    with pytest.raises(SetupError, match="is not the file of the run"):
        remote.open()
    shutil.rmtree(tmp_path)
    with pytest.raises(SetupError, match="OUT must be on storage that every node mounts"):
        remote.open()


def test_a_damaged_mark_is_no_mark(tmp_path: Path) -> None:
    assert load_mark(tmp_path / "marks", 3) == -1
    (tmp_path / "marks").mkdir()
    for content in (b"", b"[1]", b"\xff", b"one"):
        (tmp_path / "marks/00003").write_bytes(content)
        assert load_mark(tmp_path / "marks", 3) == -1
