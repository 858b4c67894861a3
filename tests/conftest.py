from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Generator
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import settings

from curate.cli.main import main
from curate.engine.local import ONE_THREAD, LocalPool
from tests.engine.in_process import run_in_process

# Tests run beside each other, and sums have the order that they have in workers.
os.environ.update(ONE_THREAD)

# The same examples every time, and no deadline: a slow machine is not a wrong program.
settings.register_profile("curate", deadline=None, derandomize=True)
settings.load_profile("curate")

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"
CURATE = [sys.executable, "-c", "from curate.cli.main import main; main()"]
InProcess = Callable[..., subprocess.CompletedProcess[str]]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run jobs in this process, except for tests of worker processes."""
    with pytest.MonkeyPatch.context() as patch:
        if item.get_closest_marker("worker_processes") is None:
            patch.setattr(LocalPool, "run", run_in_process)
        return (yield)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    if not SHARED_DATA.is_dir():
        pytest.skip("the labeled photos of ../shared/data are not here")
    return SHARED_DATA


def load_script(name: str) -> ModuleType:
    """Import a script of scripts/, which has no suffix."""
    loader = SourceFileLoader(name.replace("-", "_"), str(ROOT / "scripts" / name))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's dataset: real faces, real non-faces, a file that is cut off, a table."""
    folder = tmp_path_factory.mktemp("photos")
    load_script("make_demo_dataset").main(folder)
    return folder


def run_process(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """``curate`` with the given arguments in a process of its own."""
    command = [*CURATE, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> InProcess:
    """``curate`` in this process, where heavy libraries are imported once; as `run_process`."""
    monkeypatch.chdir(ROOT)

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = ["curate", *map(str, arguments)]
        monkeypatch.setattr(sys, "argv", command)
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        code = ended.value.code if isinstance(ended.value.code, int) else 0
        return subprocess.CompletedProcess(command, code, printed.out, printed.err)

    return run


@pytest.fixture
def fingerprint() -> Callable[[Path], dict[str, str]]:
    """Digests of what must be equal between runs: data/ and manifest/records."""

    def take(out: Path) -> dict[str, str]:
        return {
            str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
            for top in ("data", "manifest/records")
            for path in sorted((out / top).rglob("*"))
            if path.is_file()
        }

    return take


@pytest.fixture
def as_someone_else() -> None:
    """Skip where permissions do not bind."""
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")


@pytest.fixture(scope="session")
def publishable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an OUT to publish and what it was made from; copied, never changed."""
    from tests.publishing.outs import make_out

    folder = tmp_path_factory.mktemp("publishable")
    make_out(folder)
    return folder
