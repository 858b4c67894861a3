"""Registries: short names of implementations, imported on first use.

A registry maps a name to ``"module:attribute"``; listing the names imports nothing,
and a missing optional package raises an error with its pip command.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from curate.core.errors import MissingExtraError, UsageError, suggest


@dataclass(frozen=True, slots=True)
class Plugin:
    """One registered implementation.

    Args:
        target: ``"module:attribute"``, or ``"module"`` for a whole module.
        summary: one line for ``--help``.
        requires: import names of packages that only an extra installs.
        extra: the extra that installs them.
        brings_file: whether it takes a file of the user's, as in ``name:FILE``.
    """

    target: str
    summary: str
    requires: tuple[str, ...] = ()
    extra: str | None = None
    brings_file: bool = False


class Registry:
    """Immutable mapping from names to implementations of one kind.

    Args:
        kind: noun in the singular, for messages (``detector``).
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
        """Yield names and one-line summaries, in the order of registration."""
        for name, plugin in self._plugins.items():
            yield name, plugin.summary

    def resolve(self, name: str) -> Any:
        """Import and return the implementation of a name.

        Raises:
            UsageError: if there is no such name.
            MissingExtraError: if a package that it needs is not installed.
        """
        target, _, attribute = self.check(name).target.partition(":")
        module = importlib.import_module(target)
        return getattr(module, attribute) if attribute else module

    def check(self, name: str) -> Plugin:
        """Check that a name can be resolved, importing nothing; return its plugin.

        Raises:
            UsageError: if there is no such name.
            MissingExtraError: if a package that it needs is not installed.
        """
        plugin = self._plugins.get(name)
        if plugin is None:
            known = ", ".join(self._plugins)
            hint = suggest(name[:100], self._plugins)
            shown = f"{name[:100]!r}{'…' if len(name) > 100 else ''}"
            raise UsageError(f"unknown {self.kind} {shown}; choose one of: {known}{hint}")
        for package in plugin.requires:
            if importlib.util.find_spec(package) is None:
                raise MissingExtraError(f"the {self.kind} {name!r}", package, plugin.extra or name)
        return plugin
