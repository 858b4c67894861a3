"""Reports of commands that measure: their options, and where they are written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curate.cli.options import HTML, JSON, OUTPUT, QUIET, add_options
from curate.cli.printing import echo_text, print_summary
from curate.core.documents import parse_json
from curate.core.errors import CurateError, UsageError
from curate.layouts.access.address import is_address
from curate.report.text import name_source
from curate.storage.regular import open_regular, read_regular
from curate.storage.target import check_output

if TYPE_CHECKING:
    from curate.report.document import Report


def report_options(command: Any) -> Any:
    """Add ``--output``, ``--html``, ``--json`` and ``--quiet`` to a command."""
    return add_options((OUTPUT, HTML, JSON, QUIET), command)


RESULTS: Mapping[str, tuple[str, frozenset[str]]] = {
    "audit": ("Representation audit", frozenset({"census", "coverage"})),
    "audit labels": ("Label audit", frozenset({"decisions", "agreement"})),
    "balance": ("Correction of group representation", frozenset({"comparisons", "gap"})),
    "blur": ("Face obfuscation", frozenset()),
    "detect --explain": ("Faces in ", frozenset()),
    "duplicates": ("Near-duplicates", frozenset({"unblurred", "across_splits"})),
    "evaluate": ("Detector evaluation", frozenset({"face_free", "overall"})),
    "impact": ("Effect of obfuscation on accuracy", frozenset({"mcnemar", "top1"})),
    "impact explain": ("Attribution on faces", frozenset({"methods", "randomised"})),
    "impact train": ("Effect of training on obfuscated images", frozenset({"cells", "gaps"})),
    "plan": ("Plan of a run", frozenset({"core_hours", "assumptions"})),
    "review report": ("Review", frozenset({"statement", "bound"})),
}
"""How the results of a command are known: start of the page's title, keys of the JSON."""


def check_outputs(
    inputs: Iterable[Path | str | None], outputs: Mapping[str, Path | None], command: str
) -> None:
    """Refuse files that cannot be written, or that would overwrite another file, before any work.

    A result of the same command is replaced, and so is an empty file.

    Args:
        inputs: files and folders that the command reads; URIs are ignored.
        outputs: files that it is to write, by format: ``json`` or ``html``.
        command: the command, a key of `RESULTS`.

    Raises:
        UsageError: if an output is a folder, is in no existing folder, is or is inside an input,
            is given twice, has the suffix of another format, or is a file of another kind.
    """
    read = [Path(each) for each in inputs if each is not None and not is_address(str(each))]
    seen: set[Path] = set()
    for form, path in outputs.items():
        if path is None:
            continue
        for given in read:
            if path.resolve().is_relative_to(given.resolve()):
                raise UsageError(f"cannot write {path}: it is, or is inside, the input {given}")
        check_output(path, form)
        if path.resolve() in seen:
            raise UsageError(f"cannot write {path} twice: give each report a file of its own")
        seen.add(path.resolve())
        if path.exists() and not _is_result(path, form, command):
            raise UsageError(
                f"{path} exists and is not a result of curate {command}; name another file, or "
                "remove it"
            )


def report_files(options: Mapping[str, Any]) -> dict[str, Path | None]:
    """The files that the options of `report_options` name, by format."""
    return {"json": options["output"], "html": options["html"]}


def _is_result(path: Path, form: str, command: str) -> bool:
    """Whether a file can be replaced by a result of a command."""
    title, keys = RESULTS[command]
    try:
        if path.stat().st_size == 0:
            return True
        if form == "html":
            with open_regular(path, follow_links=True) as file:
                start = file.read(_PAGE_HEAD).decode(errors="replace")
            return _OURS in start and f"<title>{title}" in start
        value = parse_json(read_regular(path, follow_links=True), path)
    except (OSError, ValueError, CurateError):
        return False
    return isinstance(value, dict) and bool(keys) and keys <= value.keys()


_PAGE_HEAD = 4096  # bytes
_OURS = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def write_report(
    report: Report,
    options: Mapping[str, Any],
    json: str = "output",
    inputs: Iterable[Path | str | None] = (),
) -> None:
    """Write a report where the options of `report_options` send it.

    The summary goes to stderr unless ``--quiet``; JSON goes to stdout with ``--json``.

    Args:
        report: the result of the command.
        options: values by parameter name.
        json: the parameter that names the JSON file.
        inputs: what the command read; the page names them as `name_source` does.
    """
    names = (name_source(each) for each in inputs if each is not None)
    report.save(json=options[json], html=options["html"], source=", ".join(names))
    if options["as_json"]:
        echo_text(report.to_json())
    if not options["quiet"]:
        print_summary(report.to_text())
