from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import settings

# The same examples every time, and no deadline: a slow machine is not a wrong program.
settings.register_profile("curate", deadline=None, derandomize=True)
settings.load_profile("curate")

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = ROOT.parent / "shared" / "data"


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
