from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from curate.publishing.hub import retry
from tests.hub.server import TOKEN, Hub, running_hub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A Hub on loopback, to which the real client is logged in."""
    import huggingface_hub.constants
    import huggingface_hub.utils

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    with running_hub() as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        yield running
        huggingface_hub.utils.close_session()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the program, and the client inside it, would have waited; nobody does."""
    import huggingface_hub.utils._http as http

    asked: list[float] = []
    monkeypatch.setattr(retry, "sleep", asked.append)
    monkeypatch.setattr(http.time, "sleep", asked.append)
    return asked
