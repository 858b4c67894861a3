"""White space, invisible characters, marks, empty elements and long numbers hold nothing."""

from __future__ import annotations

import io
import random
import re
import unicodedata
from collections.abc import Callable
from typing import Any

import pytest

from curate.layouts.rewriters import REWRITERS
from curate.layouts.sidecars.invisible import clean_document, cost_of_invisible
from curate.layouts.sidecars.values import Limits

BITS = list(random.Random(7).randbytes(2000))  # noqa: S311
HIDDEN: dict[str, str] = {
    "tags": "Dogs" + "".join(chr(0xE0000 + bit % 128) for bit in BITS) + " and cats.\n",
    "selectors": "Dogs \U0001f600" + "".join(chr(0xE0100 + bit % 240) for bit in BITS),
    "zero width": "Dogs" + "".join("\u200b\u200c"[bit & 1] for bit in BITS) + " run",
    "directions": "".join("a" + chr(0x202A + bit % 5) for bit in BITS),
    "fillers": "Dogs " + "".join("\u3164\u115f"[bit & 1] for bit in BITS) + " run",
    "private": "Dogs " + "".join(chr(0xE000 + bit) for bit in BITS),
    "marks": "".join("a" + chr(0x316 + bit % 16) + chr(0x340 + bit // 16) for bit in BITS),
    "spaces and tabs": "dogs" + "".join(" \t"[bit & 1] for bit in BITS) + "cats",
    "tabs at ends": "\n".join("dogs run" + " \t"[bit & 1] * 3 + "\t" for bit in BITS),
    "wide spaces": "dogs" + "".join(chr(0x2000 + bit % 11) for bit in BITS) + "cats",
    "line ends": "".join("a dog" + ("\n", "\r\n")[bit & 1] for bit in BITS),
    "blank lines": "".join("\n " + "\t" * (bit & 1) for bit in BITS) + "dogs",
}


def rewrite(name: str, text: str) -> tuple[str, Limits]:
    limits, out = Limits(), io.BytesIO()
    REWRITERS[name](io.BytesIO(text.encode()), out, f"a.{name}", limits)
    return out.getvalue().decode(), limits


@pytest.mark.parametrize("name", HIDDEN)
def test_a_document_holds_nothing_that_nobody_sees(name: str) -> None:
    kept, count = clean_document(HIDDEN[name])
    assert count > 0
    assert clean_document(kept) == (kept, 0)
    hidden = sum(1 for c in kept if unicodedata.category(c) in ("Cf", "Co", "Cn", "Mn", "Lo"))
    assert hidden <= 64
    assert not re.search(r"[ \t]{65}|\t ?\t|\n\n\n\n|\r(?!\n)", kept)
    assert kept.count("\r\n") in (0, kept.count("\n"))
    assert re.sub(r"[\W_]+", "", kept).lower().startswith(("dogs", "a"))


@pytest.mark.parametrize("name", [name for name in HIDDEN if name not in ("marks", "directions")])
def test_a_document_is_written_without_them(name: str) -> None:
    written, limits = rewrite("document", HIDDEN[name])
    assert limits.content.to_dict()["dropped"][""].keys() == {"(invisible characters)"}
    again, quiet = rewrite("document", written)
    assert again == written
    assert quiet.content.count_dropped() == 0


@pytest.mark.parametrize("name", HIDDEN)
def test_a_caption_with_them_is_dropped(name: str) -> None:
    assert Limits().record({"caption": HIDDEN[name]}) == {}
    key = HIDDEN[name][:24]
    many = {f"{key}{number}": 1 for number in range(600)}
    assert len(Limits().record(many)) < 80


ORDINARY = [
    "می‌خواهم کتاب‌ها را بخوانم",
    "👨‍👩‍👧‍👦 🏴󠁧󠁢󠁥󠁮󠁧󠁿 ❤️ 1️⃣ ☎︎",
    "क्‍ष श्रीमान",
    unicodedata.normalize("NFD", "Tiếng Việt, ẹ́kọ́ ọ̀rọ̀, Žluťoučký kůň"),
    "日本語　テスト。",
    "prix\u00a0: 5\u202f€",
    "שלום \u200fעולם\u200e.",
    "# Title\n\n    code  # aligned\n\n| a   | b |\n\n\nbroken  \nline\n",
    "one\r\ntwo\r\n\r\nthree",
]


@pytest.mark.parametrize("text", ORDINARY)
def test_texts_of_every_script_are_kept(text: str) -> None:
    assert clean_document(text) == (text, 0)
    assert rewrite("document", text)[0] == text
    assert cost_of_invisible(text) < 400
    assert Limits().record({"caption": text}) == {"caption": text}


LONG = "".join(str(bit % 10) for bit in BITS)[:400]
VOC = (
    "<annotation><filename>a.jpg</filename><size><width>48</width><height>40</height></size>"
    "{}</annotation>"
)
BOX = (
    "<object><name>dog</name><bndbox><xmin>{}</xmin><ymin>2</ymin><xmax>30</xmax></bndbox></object>"
)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("xml", VOC.format(BOX.format(f"1.{LONG}"))),
        ("xml", VOC.format(f"<q>0.{LONG}</q>")),
        ("xml", VOC.format(f"<q>1{LONG}</q>")),
        ("xml", VOC.format(f'<q a="0.{LONG}">1</q>')),
        ("csv", f"file_name,x\na.jpg,0.{LONG}\n"),
        ("csv", f'file_name,x\na.jpg,"[0.{LONG}, 1]"\n'),
        ("jsonl", f'{{"file_name": "a.jpg", "x": "0.{LONG}"}}\n'),
        ("jsonl", f'{{"file_name": "a.jpg", "x": 0.{LONG}}}\n'),
        ("json", f'{{"x": ["0.{LONG}", "1"]}}'),
        ("info", f'{{"x": "1e{LONG}"}}'),
    ],
)
def test_a_number_has_no_more_digits_than_a_number(name: str, text: str) -> None:
    assert LONG[:33] not in rewrite(name, text)[0]


def parts(first: str, second: str) -> str:
    return "".join((first, second)[bit & 1] for bit in BITS)


@pytest.mark.parametrize(
    "text",
    [
        VOC.format(parts("<a/>", "<b/>")),
        VOC.format(parts("<a> </a>", "<b>\n</b>")),
        VOC.format(f"<object><name>dog</name>{parts('<a/>', '<b></b>')}</object>"),
        VOC.format(BOX.format(parts(" ", "\t") + "3" + parts(" ", "\n"))),
        VOC.format("<q>" + parts("<p><a/></p>", "<p><b/></p>") + "</q>"),
        VOC.format("<a>1</a>" + parts(" ", "\t") + "<a>1</a>"),
    ],
    ids=["tags", "blank", "in an object", "around a number", "nested", "between"],
)
def test_empty_elements_and_white_space_of_voc_hold_nothing(text: str) -> None:
    kept = rewrite("xml", text)[0]
    assert len(kept) < 4000
    again, quiet = rewrite("xml", kept)
    assert again == kept
    assert quiet.content.count_dropped() == 0
    assert "<filename>a.jpg</filename>" in kept


@pytest.mark.parametrize(
    ("name", "line", "check"),
    [
        ("csv", "a.jpg,1", lambda lines: len(lines) == 2001),
        ("jsonl", '{"file_name": "a.jpg"}', lambda lines: len(lines) == 2000),
        ("lines", "a.jpg", lambda lines: len(lines) == 2000),
    ],
)
def test_all_lines_end_as_the_first_one(
    name: str, line: str, check: Callable[[list[Any]], bool]
) -> None:
    head = "file_name,x\n" if name == "csv" else ""
    text = head + "".join(line + ("\n", "\r\n")[bit & 1] for bit in [0, *BITS][:2000])
    kept = rewrite(name, text)[0]
    assert "\r" not in kept
    assert check(kept.splitlines())
    blank = head + "".join(line + "\n" + ("\n", "\n\n\n\n")[bit & 1] for bit in BITS[:200])
    assert "\n\n\n\n" not in rewrite(name, blank)[0]
