"""A Ray cluster of three node processes: equal output, lost nodes, images that kill an actor."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
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
from curate.engine.ray import RayPool
from curate.engine.ray_cluster import RayOptions, import_ray
from curate.pipeline.environment import RemoteJob, load_mark, make_remote
from curate.pipeline.session import Session
from tests.conftest import ROOT
from tests.engine.jobs import Spell
from tests.impact.evaluate import trials

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


def run(*arguments: str | Path, codes: tuple[int, ...] = (0,)) -> None:
    done = subprocess.run(
        [*CURATE, *map(str, arguments), "--quiet"], stderr=subprocess.PIPE, text=True,
        timeout=SECONDS, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode in codes, done.stderr


def make_detect(crowd: Path, work: Path) -> list[str | Path]:
    return ["detect", crowd, "--profile", "fast", "--shard-size", "4", "-o", "faces.parquet"]


def make_duplicates(crowd: Path, work: Path) -> list[str | Path]:
    return ["duplicates", crowd, "-o", "duplicates.json"]


def make_balance(crowd: Path, work: Path) -> list[str | Path]:
    names = sorted(path.name for path in crowd.glob("*.png"))
    rows = [f"{name},{'f' if number < 3 else 'm'}" for number, name in enumerate(names)]
    (work / "people.csv").write_text("\n".join(["file,gender", *rows]))
    return [
        "balance", crowd, "--groups", work / "people.csv", "--by", "gender", "--strategy",
        "augment", "--visible-faces", "--shard-size", "4", "-o", "out",
    ]  # fmt: skip


def make_impact(crowd: Path, work: Path) -> list[str | Path]:
    photos = trials.make_dataset(work / "photos", images=270)
    model = "python:tests.impact.evaluate.trials:Colors"
    return [
        "impact", "evaluate", photos, trials.obfuscate(photos, work / "obfuscated"), "--model",
        model, "-o", "impact.json", "--predictions", "predictions",
    ]  # fmt: skip


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.name not in ("log.jsonl", "SHA256SUMS")  # of clock times
    }


@needs_ray
@pytest.mark.slow
@pytest.mark.parametrize("make", [make_detect, make_duplicates, make_balance, make_impact])
def test_every_long_command_gives_the_same_files_on_ray(
    make: Callable[[Path, Path], list[str | Path]],
    nodes: Nodes,
    crowd: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "inputs").mkdir()
    command = make(crowd, tmp_path / "inputs")
    engines = {"one": ("--workers", "1"), "two": ("--workers", "2"), "ray": nodes.options}
    for name, options in engines.items():
        (tmp_path / name).mkdir()
        outputs = ("faces.parquet", "duplicates.json", "out", "impact.json", "predictions")
        placed = [tmp_path / name / part if part in outputs else part for part in command]
        run(*placed, *options, codes=(0, 3))
    found = {name: digests(tmp_path / name) for name in engines}
    assert found["one"]
    assert found["one"] == found["two"] == found["ray"]


SPELL = """
import sys
from pathlib import Path
from curate.core.records import ImageRecord
from curate.engine.local import Finished
from curate.engine.ray import RayPool
from curate.engine.ray_cluster import RayOptions
from curate.engine.shards import iter_shards
from curate.pipeline.environment import load_mark, make_remote
from tests.engine.jobs import Spell
from tests.impact.evaluate import trials
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


REFUSED = """
import sys
from dataclasses import replace
from pathlib import Path
from curate.core.records import ImageRecord
from curate.duplicates.read import ReadJob
from curate.engine.ray import RayPool
from curate.engine.ray_cluster import RayOptions
from curate.engine.shards import Shard
from curate.pipeline.environment import make_remote
from tests.engine.jobs import Spell
work = Path(sys.argv[2])
proof = work / "state.json"
proof.write_text("{}")
good = make_remote(Spell(work), proof)
jobs = [
    replace(good, code="0" * 64),
    replace(good, libraries={**good.libraries, "curate-dataset": "0.0.1"}),
    replace(good, proof=work / "elsewhere.json"),
    make_remote(ReadJob(str(work / "elsewhere"), "imagefolder"), None),
]
for job in jobs:
    pool = RayPool(RayOptions(sys.argv[1], workers=1), lambda number: False, lambda number: -1)
    try:
        list(pool.run(job, [Shard(0, (ImageRecord(id="a", uri="a"),))]))
    except Exception as error:
        print(type(error).__name__, error)
    else:
        print("accepted")
"""


@needs_ray
@pytest.mark.slow
def test_a_node_that_differs_or_does_not_see_a_folder_is_one_line(
    nodes: Nodes, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", REFUSED, nodes.address, str(tmp_path)],
        capture_output=True, text=True, timeout=SECONDS,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    wanted = [
        "SetupError on node .*: another build of curate-dataset than the run",
        r"SetupError on node .*: other versions of packages .*curate-dataset 0\.0\.1",
        "SetupError on node .*: .*elsewhere.json cannot be read .*OUT must be on storage",
        "DataError on node .*: SOURCE '.*elsewhere' does not exist",
    ]
    assert len(lines) == len(wanted), done.stdout
    for line, pattern in zip(lines, wanted, strict=True):
        assert re.search(pattern, line), line


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
@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (None, "timed out"),
        (b"", "it closed the connection"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "something else listens there"),
    ],
)
def test_what_listens_but_is_no_cluster_is_refused_soon(
    form: str, answer: bytes | None, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.engine.ray_cluster._ANSWER_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def reply() -> None:
            peer, _ = listening.accept()
            with peer:
                peer.recv(1000)
                if answer is None:
                    peer.recv(1)  # until the other side hangs up
                else:
                    peer.sendall(answer)

        thread = threading.Thread(target=reply)
        thread.start()
        address = form.format(listening.getsockname()[1])
        pool = RayPool(RayOptions(address), lambda number: False, lambda number: -1)
        with pytest.raises(SetupError, match=rf"no Ray cluster answers at {address} \({why}\)"):
            list(pool.run(Spell(tmp_path), []))
        thread.join()


@needs_ray
def test_without_ray_client_the_pip_line_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.engine.ray_cluster.find_spec", lambda name: None)
    monkeypatch.setattr("curate.engine.ray_cluster._greet", lambda peer: None)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"ray://127.0.0.1:{listening.getsockname()[1]}"
        pool = RayPool(RayOptions(address), lambda number: False, lambda number: -1)
        with pytest.raises(SetupError, match=r"pip install 'ray\[client\]'"):
            list(pool.run(Spell(tmp_path), []))


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
