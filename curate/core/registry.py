"""Names to implementations, resolved when first used.

A registry maps a short name to ``"module:attribute"``, so that listing what
there is imports nothing, and a missing extra is an error that names its pip line.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from curate.core.errors import MissingExtraError, UsageError


@dataclass(frozen=True, slots=True)
class Plugin:
    """One registered implementation.

    Args:
        target: ``"module:attribute"``, or ``"module"`` where the whole module is meant.
        summary: one line for ``--help``.
        requires: import names that only an extra installs.
        extra: the extra that installs them.
        brings_file: whether it works with a file that the user brings, as in ``name:FILE``.
    """

    target: str
    summary: str
    requires: tuple[str, ...] = ()
    extra: str | None = None
    brings_file: bool = False


class Registry:
    """An immutable set of named implementations of one kind.

    Args:
        kind: what they are, in the singular, for messages (``detector``).
        plugins: pairs of name and plugin.

    Raises:
        ValueError: if a name is registered twice.
    """

    def __init__(self, kind: str, plugins: list[tuple[str, Plugin]]) -> None:
        table: dict[str, Plugin] = {}
        for name, plugin in plugins:
            if name in table:
                raise ValueError(f"{kind} {name!r} is registered twice")
            table[name] = plugin
        self.kind = kind
        self._plugins: Mapping[str, Plugin] = MappingProxyType(table)

    def __iter__(self) -> Iterator[str]:
        return iter(self._plugins)

    def __contains__(self, name: object) -> bool:
        return name in self._plugins

    def describe(self) -> Iterator[tuple[str, str]]:
        """Names and one-line summaries, in the order of registration."""
        for name, plugin in self._plugins.items():
            yield name, plugin.summary

    def resolve(self, name: str) -> Any:
        """Import and return what a name stands for.

        Raises:
            UsageError: if there is no such name.
            MissingExtraError: if a package that it needs is not installed.
        """
        target, _, attribute = self.check(name).target.partition(":")
        module = importlib.import_module(target)
        return getattr(module, attribute) if attribute else module

    def check(self, name: str) -> Plugin:
        """Make sure that a name can be resolved, importing nothing.

        Raises:
            UsageError: if there is no such name.
            MissingExtraError: if a package that it needs is not installed.
        """
        plugin = self._plugins.get(name)
        if plugin is None:
            known = ", ".join(self._plugins)
            raise UsageError(f"unknown {self.kind} {name!r}; choose one of: {known}")
        for package in plugin.requires:
            if importlib.util.find_spec(package) is None:
                raise MissingExtraError(f"the {self.kind} {name!r}", package, plugin.extra or name)
        return plugin
