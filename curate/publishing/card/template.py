"""Render a user's template in a process of its own, whose memory and time are limited."""

from __future__ import annotations

import json
import pickle
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from curate.core.errors import DataError
from curate.publishing.card.governance import Row
from curate.publishing.card.questions import Answers
from curate.publishing.card.render import make_context, render_body

if TYPE_CHECKING:
    from curate.publishing.card.evidence import Evidence

_MAX_SECONDS = 20
"""Processor time."""
_MAX_MEMORY = 2 << 30
_MAX_BODY = 4 << 20
"""Characters of a card."""
_MAX_MESSAGE = 300
_START = (
    "import sys; sys.path[:] = sys.argv[1:]; "
    "from curate.publishing.card.template import main; main()"
)


Sources = tuple[Answers, Mapping[str, Any], "Evidence", Sequence[Row], Mapping[str, str]]
"""Arguments of `make_context`."""


def render_template(path: Path, text: str, sources: Sources) -> str:
    """A card's Markdown from a user's template, without its header.

    Args:
        path: the template, for messages.
        text: its content.
        sources: what the card is made from.

    Raises:
        DataError: if it cannot be rendered within the limits.
    """
    done = subprocess.run(  # noqa: S603 - this very interpreter
        [sys.executable, "-I", "-c", _START, *sys.path],
        input=pickle.dumps((text, sources)),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        raise DataError(
            f"--template {path} cannot be rendered in {_MAX_SECONDS} seconds and "
            f"{_MAX_MEMORY >> 30} GB of memory; shorten its loops and texts"
        )
    body, fault = json.loads(done.stdout)
    if fault:
        raise DataError(f"--template {path}{fault}")
    return str(body)


def main() -> None:
    """Render what the parent process sends, and answer with a body or a fault."""
    text, sources = pickle.load(sys.stdin.buffer)  # noqa: S301 - the parent process made it
    resource.setrlimit(resource.RLIMIT_CPU, (_MAX_SECONDS, _MAX_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # others do not limit it
        resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY, _MAX_MEMORY))
    body, fault = "", ""
    try:
        body = render_body(make_context(*sources), text, sources[-1])
        if len(body) > _MAX_BODY:
            body, fault = "", f" makes a card of more than {_MAX_BODY >> 20} MB; shorten it"
    except Exception as error:  # whatever a template can do
        where = f", line {error.lineno}," if isinstance(error, jinja2.TemplateSyntaxError) else ""
        line = " ".join(f"{error}".split())[:_MAX_MESSAGE] or "it needs too much memory"
        fault = f"{where} cannot be rendered: {line}"
    sys.stdout.write(json.dumps((body, fault)))
