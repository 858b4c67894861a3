"""The YAML header of a dataset card, checked offline against a JSON Schema."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import yaml

from curate.core.documents import parse_yaml
from curate.core.errors import DataError, MissingExtraError
from curate.publishing.card.questions import Answers
from curate.publishing.form import Form

_SIZES = (
    (1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"), (1_000_000_000, "100M<n<1B"),
)  # fmt: skip
_TAGS = ("image", "face-obfuscation", "privacy", "curate")
_OWN = frozenset(
    {
        "license", "license_name", "license_link", "pretty_name", "language", "task_categories",
        "size_categories", "tags", "configs", "dataset_info", "extra_gated_prompt",
        "extra_gated_fields",
    }
)  # fmt: skip


def make_header(
    answers: Answers, form: Form, before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The header's content.

    Args:
        answers: the answers of ``card.toml``.
        form: how the dataset is published.
        before: the header of an earlier card, whose other keys are kept.
    """
    before = before or {}
    license_name = {
        key: answers[f"dataset.{key}"]
        for key in ("license_name", "license_link")
        if answers["dataset.license"] == "other"
    }
    gated = {}
    if answers["access.terms"]:
        gated["extra_gated_prompt"] = answers["access.terms"]
        fields = dict.fromkeys(answers["access.fields"], "text")
        gated["extra_gated_fields"] = {**fields, "I agree to these terms": "checkbox"}
    languages = {"language": answers["dataset.languages"]} if answers["dataset.languages"] else {}
    return {
        "license": answers["dataset.license"],
        **license_name,
        "pretty_name": answers["dataset.title"],
        **languages,
        "task_categories": list(answers["dataset.task_categories"]),
        "size_categories": [_size(sum(form.splits.values()))],
        "tags": list(
            dict.fromkeys([*_TAGS, *answers["dataset.tags"], *_texts(before.get("tags"))])
        ),
        "configs": [_config(form)],
        "dataset_info": _info(form, before.get("dataset_info")),
        **gated,
        **{key: value for key, value in before.items() if key not in _OWN},
    }


def _texts(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _size(images: int) -> str:
    return next((name for limit, name in _SIZES if images < limit), "1B<n<10B")


def _config(form: Form) -> dict[str, Any]:
    files = [
        {"split": split, "path": patterns[0] if len(patterns) == 1 else list(patterns)}
        for split, patterns in form.data_files.items()
    ]
    return {"config_name": "default", "data_files": files}


def _info(form: Form, before: Any) -> dict[str, Any] | list[dict[str, Any]]:
    """Features and splits of this version; sizes that the viewer added to the same splits stay."""
    others = before if isinstance(before, list) else [before] if isinstance(before, dict) else []
    own = next((one for one in others if _is_default(one)), {})
    kept = {
        key: value for key, value in own.items()
        if key not in ("config_name", "features", "splits")
    }  # fmt: skip
    sizes = {
        split.get("name"): split for split in own.get("splits") or [] if isinstance(split, dict)
    }
    splits = []
    for name, count in (form.rows or {}).items():
        known = sizes.get(name, {})
        same = known if known.get("num_examples") == count else {}
        if not same:
            kept = {}  # sizes of another version
        splits.append({"name": name, "num_bytes": form.sizes[name], "num_examples": count, **same})
    counts = {"splits": splits} if splits else {}
    info = {"features": [dict(feature) for feature in form.features], **counts, **kept}
    rest = [one for one in others if isinstance(one, dict) and not _is_default(one)]
    return info if not rest else [{"config_name": "default", **info}, *rest]


def _is_default(info: Any) -> bool:
    return isinstance(info, dict) and info.get("config_name", "default") == "default"


def format_header(header: Mapping[str, Any]) -> str:
    """The header as YAML, without its ``---`` lines.

    Names of columns and classes, which come from files, are data: no mark in them opens an
    element where the header is shown as Markdown.
    """
    text = _dump(header)
    free = (chr(code) for code in range(*_PRIVATE) if chr(code) not in text)
    marks = dict(zip(_MARKS, free, strict=False))
    info = header.get("dataset_info")
    if isinstance(info, list):
        info = [_hide_marks(each, marks) for each in info]
    elif info is not None:
        info = _hide_marks(info, marks)
    text = _dump({**header, "dataset_info": info} if info is not None else header)
    for mark, stand_in in marks.items():
        text = text.replace(stand_in, f"\\x{ord(mark):02X}")
    return text


class _Quoted(str):
    """A text that YAML has in double quotes, which know escapes."""

    __slots__ = ()


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """The dumper of `format_header`."""


_Dumper.add_representer(
    _Quoted, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
)
_MARKS = "<:;"
_PRIVATE = (0xE000, 0xF900)  # characters that no YAML escapes
_OPENING = re.compile(r"<\s*[a-z/!?]|data:|;\s*base64", re.IGNORECASE)


def _dump(header: Mapping[str, Any]) -> str:
    return str(
        yaml.dump(dict(header), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    )


def _hide_marks(value: Any, marks: Mapping[str, str]) -> Any:
    """A value of ``dataset_info``, with characters that are not in it in place of marks."""
    if isinstance(value, dict):
        return {_hide_marks(key, marks): _hide_marks(each, marks) for key, each in value.items()}
    if isinstance(value, list):
        return [_hide_marks(each, marks) for each in value]
    if isinstance(value, str) and _OPENING.search(value):
        return _Quoted("".join(marks.get(each, each) for each in value))
    return value


def split_card(text: str) -> tuple[dict[str, Any], str]:
    """A card's header and body.

    Raises:
        DataError: if the header is not YAML, see `parse_yaml`.
    """
    if not text.startswith("---\n") or "\n---\n" not in text[3:]:
        return {}, text
    head, _, body = text[4:].partition("\n---\n")
    value = parse_yaml(head, "README.md: its header")
    if value is not None and not isinstance(value, dict):
        raise DataError("README.md: its header is not a mapping")
    return value or {}, body


def check_header(header: Mapping[str, Any]) -> None:
    """Check a header against the schema, which has the Hub's own lists of values.

    Raises:
        DataError: naming every key that does not fit.
        MissingExtraError: if ``jsonschema`` is not installed.
    """
    if faults := find_faults(header, "card-1.schema.json"):
        raise DataError(f"the card's YAML is not what the Hub takes: {'; '.join(faults[:5])}")


def find_faults(value: Mapping[str, Any], schema: str) -> list[str]:
    """What of a value does not fit a JSON Schema of this package, a line each.

    Raises:
        MissingExtraError: if ``jsonschema`` is not installed.
    """
    try:
        import jsonschema
    except ImportError:
        raise MissingExtraError("curate card", "jsonschema", "publish") from None
    text = (files("curate.publishing.card") / schema).read_text(encoding="utf-8")
    validator = jsonschema.Draft202012Validator(json.loads(text))
    faults = sorted(validator.iter_errors(dict(value)), key=lambda fault: [*map(str, fault.path)])
    return [f"{'.'.join(map(str, fault.path)) or 'it'}: {_tell(fault)}" for fault in faults]


def _tell(fault: Any) -> str:
    if fault.validator == "enum":
        import difflib

        known = [value for value in fault.validator_value if isinstance(value, str)]
        close = difflib.get_close_matches(str(fault.instance), known, 3)
        more = f" (did you mean {', '.join(close)}?)" if close else ""
        return f"{fault.instance!r} is not in the Hub's list{more}"
    return " ".join(str(fault.message).split())[:160]
