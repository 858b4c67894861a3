"""CPU time of this process by stage of the work on images."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

STAGES = ("decode", "gate", "detect", "verify", "obfuscate", "encode", "hash", "write")
"""In the order of the work. ``gate`` is the coarse pass, ``verify`` the crops of candidates."""

_spent: dict[str, float] = dict.fromkeys(STAGES, 0.0)
_inner: list[float] = []


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Add the CPU time of a block to a stage, without that of the stages inside it.

    Args:
        name: one of `STAGES`.
    """
    began = time.process_time()
    _inner.append(0.0)
    try:
        yield
    finally:
        whole = time.process_time() - began
        _spent[name] += whole - _inner.pop()
        if _inner:
            _inner[-1] += whole


def take_times() -> dict[str, float]:
    """CPU seconds by stage since the last call."""
    taken = dict(_spent)
    _spent.update(dict.fromkeys(STAGES, 0.0))
    return taken


def format_times(spent: Mapping[str, float], images: int) -> str:
    """One line for people: CPU milliseconds an image, by stage.

    Args:
        spent: CPU seconds by stage.
        images: how many images they were spent on.
    """
    count = max(images, 1)
    parts = [f"{name} {1000 * spent.get(name, 0.0) / count:.1f}" for name in STAGES]
    total = 1000 * sum(spent.values()) / count
    return f"CPU ms per image: {', '.join(parts)}; together {total:.1f}, start-up not included."
