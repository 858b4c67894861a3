"""What became of the files that are not images, and what the annotations contain, as text."""

from __future__ import annotations

import glob
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from curate.core.entries import WITHDRAWN
from curate.core.records import escape_unprintable
from curate.layouts.files import is_document_name
from curate.layouts.sidecars.content import IMAGE_NAMES, Content, matches_pattern
from curate.manifest import store
from curate.manifest.others import iter_others
from curate.pipeline.sidecars import WANTED

LISTS_WITHHELD = (
    "files copied with --include may still list withheld images: remove these for loaders that "
    "require each listed file to exist"
)


def may_list_withheld(run: Mapping[str, Any]) -> bool:
    """Return whether files of a run may name images that are not in the output.

    Annotations name none of them. Files that are copied unread may, but for withdrawn images,
    of which these were removed.

    Args:
        run: the content of its ``run.json``.
    """
    counts = run["counts"]
    others = counts["withheld"] - counts["reasons"].get(WITHDRAWN, 0)
    return bool(others > 0 and run["others"].get("included"))


_NAMED = 10
_SHOWN_KEYS = 6
_MAX_GROUPS = 1000
_FINAL = (
    *("an image outside", "its name ", "it cannot be read", "it is a link", "it is a file with"),
    *(
        "its image was withheld",
        "it is an image",
        "it is longer",
        "it is neither a file",
        "the images of its sample",
    ),
    *(
        "it contains images",
        "it has records of several lines",
        "it may contain images",
        "not an annotation",
        "a face was found",
        "its image was withheld",
        "no faces were searched",
    ),
)
"""Starts of the reasons of files that ``--include`` does not copy, or that are no annotations."""


def find_left_out(
    files: Iterable[tuple[str, str | None]],
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The first files that were left out, and hints on those that users often want.

    Args:
        files: path of each file, and the reason why it was left out, or None.
    """
    names: list[str] = []
    groups: dict[tuple[str, str], tuple[int, str]] = {}
    documents: list[str] = []
    for path, reason in files:
        if reason is None:
            continue
        if len(names) < _NAMED:
            names.append(path)
        if is_document_name(path) and " contains " in reason and len(documents) < _NAMED:
            documents.append(f"{reason}: --include {_quote_pattern(path)} copies it unread")
            continue
        key = (reason.replace(f"{path} ", "it "), PurePosixPath(path).suffix)
        if key in groups or len(groups) < _MAX_GROUPS:
            count, first = groups.get(key, (0, path))
            groups[key] = (count + 1, first)
    often = sorted(groups.items(), key=lambda item: (item[0][0] not in WANTED, item[0]))
    hints = (
        f"{count:,} × {reason}, such as {first}" + _describe_remedy(reason, suffix, first)
        for (reason, suffix), (count, first) in often[:_NAMED]
    )
    return tuple(names), (*documents, *hints)


def _describe_remedy(reason: str, suffix: str, path: str) -> str:
    """How files of a reason can be copied; empty if they cannot, or nobody wants to."""
    if reason.startswith(_FINAL):
        return ""
    top = path.rpartition("/")[0].partition("/")[0]
    pattern = _quote_pattern(suffix, "*") if suffix else _quote_pattern(path)
    if not suffix and top:  # a folder of annotations without suffixes
        pattern = shlex.quote(f"{glob.escape(top)}/*")
    return f": --include {pattern} copies such files unread"


def _quote_pattern(path: str, start: str = "") -> str:
    """Pattern of a path for ``--include``, quoted for the shell."""
    return shlex.quote(start + glob.escape(path))


def describe_others(
    counts: Mapping[str, int],
    left_out: Sequence[str],
    hints: Sequence[str],
    content: Mapping[str, Any],
    facts: str,
) -> Iterator[str]:
    """What became of files that are not images, and what the annotations contain.

    Args:
        counts: files by outcome; ``included`` are among ``carried`` and ``edited``.
        left_out: the first files that were left out.
        hints: what can be done about them, one line each.
        content: what annotations contain, as in ``run.json``.
        facts: name of the file of the manifest that has it.
    """
    edited = f"{counts['edited']:,} edited, " if counts.get("edited") else ""
    if counts["carried"] or counts["left_out"] or edited:
        yield (
            f"Other files: {counts['carried']:,} copied, {edited}{counts['left_out']:,} left out "
            "(see manifest/others.jsonl)."
        )
    if counts["included"]:
        yield f"  copied as they are, unread, with --include: {counts['included']:,}"
    if left_out:
        more = counts["left_out"] - len(left_out)
        rest = [f"and {more:,} more"] if more > 0 else []
        yield f"  left out: {', '.join([*left_out, *rest])}"
    yield from (f"  {hint}" for hint in hints)
    yield from describe_content(content, facts)


def describe_content(content: Mapping[str, Any], facts: str = store.RUN) -> Iterator[str]:
    """What annotations and image names contain that can identify people, by kind and key."""
    report = Content()
    report.merge(content)
    kinds = report.kinds()
    if kinds:
        what = "names of images" if set(content["found"]) == {IMAGE_NAMES} else "annotations"
        if IMAGE_NAMES in content["found"] and len(content["found"]) > 1:
            what = "annotations and names of images"
        yield f"The {what} contain (by file in manifest/{facts}):"
    for kind, keys in kinds.items():
        yield f"  {kind}: {_list_keys(Counter(keys))}"
    dropped: Counter[str] = Counter()
    for keys in content["dropped"].values():
        dropped.update(keys)
    if dropped:
        yield f"Left out of the annotations: {_list_keys(dropped)}"


def _list_keys(keys: Counter[str]) -> str:
    common = keys.most_common(_SHOWN_KEYS)
    shown = [f"{escape_unprintable(key)} ({count:,})" for key, count in common]
    more = len(keys) - len(shown)
    return ", ".join([*shown, *([f"and {more:,} other keys"] if more else [])])


def describe_include(
    patterns: Sequence[str], out: Path, content: Mapping[str, Any]
) -> Iterator[str]:
    """Patterns of ``--include`` that no file matches, nor possibly a member of a tar file."""
    is_tar = any("unread" in kinds for kinds in content["found"].values())
    unused = set() if is_tar else set(patterns)
    for other in iter_others(out / store.MANIFEST):
        unused -= {each for each in unused if matches_pattern(other.path, each)}
    if unused:
        yield f"--include matches no file: {', '.join(map(repr, sorted(unused)))}"
