from __future__ import annotations

import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.report.numbers import COEFFICIENT, PERCENT, POINTS, RATIO, NumberFormat
from curate.report.page import render_fragment, render_page
from curate.report.svg import (
    COLORS,
    NARROW,
    WIDE,
    Size,
    draw_bars,
    draw_lines,
    format_bar,
)
from curate.report.values import (
    Bar,
    BarChart,
    Gallery,
    Line,
    LineChart,
    Page,
    Picture,
    Section,
    Table,
    find_domain,
)

EVIL = "<script>alert('x')</script>\"'&{{ 7 * 7 }}"

BARS = BarChart(
    "Faces hidden", (Bar("I", 0.9, 0.8, 0.95), Bar("VI", 0.5, 0.2, 0.7), Bar("–", None))
)
LINES = LineChart(
    "Recall", "least confidence", "recall",
    tuple(Line(f"group {n}", ((0.0, 1.0), (0.5, 0.1 * n), (1.0, 0.0))) for n in range(8)),
)  # fmt: skip
PAGE = Page(
    "A title",
    ("The lead.",),
    (
        Section("One", ("A paragraph.", BARS, LINES)),
        Section("Two", (Table("A caption", ("", "x"), (("row", "1"),)),)),
        Section("Three", (Gallery("Mind this.", (Picture(b"\xff\xd8", "a.jpg"),)),)),
    ),
    "The foot.",
)

SVG = {"svg": "http://www.w3.org/2000/svg"}


def parse(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)  # noqa: S314 - drawn by the code under test


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def tags(page: Page) -> list[tuple[str, dict[str, str | None]]]:
    parser = Tags()
    parser.feed(render_page(page))
    assert parser.open == []
    return parser.seen


def test_a_page_needs_no_network_and_no_script() -> None:
    text = render_page(PAGE)
    names = {name for name, _ in tags(PAGE)}
    assert names.isdisjoint({"script", "link", "iframe", "object"})
    places = re.findall(r"https?://[^\s\"']+", text)
    assert set(places) <= {"http://www.w3.org/2000/svg"}
    assert "default-src 'none'" in text


def test_a_page_is_readable_by_screen_readers() -> None:
    seen = tags(PAGE)
    assert ("html", {"lang": "en"}) in seen
    for name, attributes in seen:
        if name == "svg":
            assert (attributes["role"], bool(attributes["aria-label"])) == ("img", True)
        if name == "img":
            assert attributes["alt"] == "a.jpg"
        if name == "th":
            assert attributes["scope"] in ("row", "col")
    assert [name for name, _ in seen].count("h1") == 1


def test_a_page_has_styles_for_light_dark_and_print() -> None:
    text = render_page(PAGE)
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_every_text_is_escaped() -> None:
    bars = BarChart(EVIL, (Bar(EVIL, 0.5, 0.4, 0.6),))
    lines = LineChart(EVIL, EVIL, EVIL, (Line(EVIL, ((0.0, 0.0),)),))
    table = Table(EVIL, (EVIL,), ((EVIL, EVIL),))
    gallery = Gallery(EVIL, (Picture(b"", EVIL),))
    page = Page(EVIL, (EVIL,), (Section(EVIL, (EVIL, bars, lines, table, gallery)),), EVIL)
    assert all(name != "script" for name, _ in tags(page))
    text = render_page(page)
    assert "<script" not in text
    assert "{{ 7 * 7 }}" in text
    for _, attributes in tags(page):
        assert not any(name.startswith("on") for name in attributes)


def test_a_bar_is_as_long_as_its_value_and_its_whisker_as_its_interval() -> None:
    tree = parse(str(draw_bars(BARS)))
    first, second = tree.findall("svg:rect", SVG)
    ratio = float(first.attrib["width"]) / float(second.attrib["width"])
    assert ratio == pytest.approx(0.9 / 0.5, rel=0.01)
    [whisker, _] = [p.attrib["d"] for p in tree.findall("svg:path", SVG)]
    start, end = map(float, re.match(r"M([\d.]+) [\d.]+H([\d.]+)", whisker).groups())  # type: ignore[union-attr]
    assert (end - start) / float(first.attrib["width"]) == pytest.approx(0.15 / 0.9, rel=0.01)


def test_negative_bars_extend_to_the_left() -> None:
    chart = BarChart("Gaps", (Bar("a", -0.2), Bar("b", 0.2)), (-0.4, 0.4))
    left, right = parse(str(draw_bars(chart))).findall("svg:rect", SVG)
    middle = float(right.attrib["x"])
    assert float(left.attrib["x"]) + float(left.attrib["width"]) == pytest.approx(middle, abs=0.1)


def test_lines_differ_in_color_and_dashes() -> None:
    paths = parse(str(draw_lines(LINES))).findall("svg:path", SVG)
    looks = {(path.attrib["stroke"], path.attrib.get("stroke-dasharray", "")) for path in paths}
    assert len(looks) == len(COLORS) == len({dash for _, dash in looks})


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "–"), (math.nan, "–"), (0.5, "50.0 %"), (0.1234, "12.3 %"), (-0.02, "−2.0 %"),
     (-0.0001, "0.0 %"), (1.0, "100.0 %")],
)  # fmt: skip
def test_values_are_formatted_as_text(value: float | None, text: str) -> None:
    assert PERCENT.value(value) == text


@pytest.mark.parametrize(
    ("bar", "form", "text"),
    [
        (Bar("", 0.5, -0.1, 0.61), PERCENT, "50.0 % (−10.0 to 61.0)"),
        (Bar("", 0.5), PERCENT, "50.0 %"),
        (Bar("", None, 0.0, 1.0), PERCENT, "–"),
        (Bar("", 1.5, 1.0, 2.0), RATIO, "1.50 (1.00 to 2.00)"),
        (Bar("", -0.016, -0.066, 0.036), POINTS, "−1.6 (−6.6 to +3.6)"),
        (Bar("", 1.0), COEFFICIENT, "1.000"),
        (Bar("", 1234.5), NumberFormat(1, unit=" ms"), "1,234.5 ms"),
    ],
)
def test_bars_have_the_text_of_the_cells_of_tables(bar: Bar, form: NumberFormat, text: str) -> None:
    interval = None if bar.low is None or bar.high is None else (bar.low, bar.high)
    assert format_bar(bar, form) == form.estimate(bar.value, interval) == text
    assert text in str(draw_bars(BarChart("Values", (bar,), (-2000.0, 2000.0), form)))


def test_an_axis_has_zero_and_all_values_and_can_be_symmetric() -> None:
    bars = (Bar("a", 0.1, -0.05, 0.2), Bar("b", 0.1, target=0.4), Bar("c", None))
    assert find_domain(bars) == (-0.05, 0.4)
    assert find_domain(bars, both_sides=True) == (-0.4, 0.4)
    assert find_domain(()) == (0.0, 0.0)


def ticks(chart: BarChart, size: Size = WIDE) -> list[str]:
    tree = parse(str(draw_bars(chart, size)))
    count = len(tree.findall("svg:line", SVG))
    return [each.text or "" for each in tree.findall("svg:text", SVG)[:count]]


@pytest.mark.parametrize(
    ("domain", "form", "expected"),
    [
        ((0.0, 1.0), PERCENT, ["0 %", "20 %", "40 %", "60 %", "80 %", "100 %"]),
        ((0.0, 0.02477), NumberFormat(2, 1000, " ms"),
         ["0 ms", "5 ms", "10 ms", "15 ms", "20 ms", "25 ms"]),
        ((-1.0, 1.0), COEFFICIENT, ["−1.0", "−0.5", "0.0", "0.5", "1.0"]),
        ((-0.2299, 0.3713), POINTS, ["−40", "−20", "0", "20", "40"]),
        ((0.0, 0.0), RATIO, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
    ],
)  # fmt: skip
def test_ticks_are_round(
    domain: tuple[float, float], form: NumberFormat, expected: list[str]
) -> None:
    for size in (WIDE, NARROW):
        assert ticks(BarChart("Values", (), domain, form), size) == expected


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_multiples_of_1_2_or_5_and_enclose_the_domain(low: float, width: float) -> None:
    shown = ticks(BarChart("Values", (), (low, low + width), NumberFormat(2)))
    values = [float(text.replace("−", "-").replace(",", "")) for text in shown]
    assert 2 <= len(values) <= 6
    step = values[1] - values[0]
    assert float(f"{step:.3e}".partition("e")[0]) in (1.0, 2.0, 5.0)
    assert values[0] - step * 1e-3 <= low
    assert low + width <= values[-1] + step * 1e-3


def test_a_page_starts_with_source_version_and_verdict() -> None:
    text = render_page(replace(PAGE, verdict="1 faces are hidden."), "photos")
    top = text.partition("<h2>")[0]
    assert "Source: photos; The foot." in top
    assert "1 face is hidden." in top
    assert top.index("The foot.") < top.index("1 face is hidden.") < top.index("The lead.")


@pytest.mark.parametrize("size", [WIDE, NARROW])
@pytest.mark.parametrize("form", [PERCENT, POINTS, COEFFICIENT])
def test_nothing_of_a_chart_is_outside_of_it(size: Size, form: NumberFormat) -> None:
    bars = (
        Bar("n01440764", 0.5, 0.2, 0.7, 0.4),
        Bar("a long name of a group " * 4, 1.0, 1.0, 1.0, 1.0),
        Bar("low", -1.0, -2.0, -0.5, None),
    )
    for svg in (
        draw_bars(BarChart("Shares", bars, (-1.0, 1.0), form), size),
        draw_lines(LINES, size),
    ):
        root = parse(svg)
        _, _, width, height = map(float, root.attrib["viewBox"].split())
        assert width == size.width
        for text in root.iterfind(".//svg:text", SVG):
            letters = 6.6 * len(text.text or "")
            x = float(text.attrib["x"])
            start = {"start": 0.0, "middle": 0.5, "end": 1.0}[text.attrib["text-anchor"]]
            if "transform" not in text.attrib:
                assert x - start * letters >= -4
                assert x + (1 - start) * letters <= width + 4
            assert float(text.attrib["y"]) <= height


def test_targets_are_lines_and_classes_have_names() -> None:
    svg = draw_bars(BarChart("Shares", (Bar("n01440764", 0.5, target=0.4), Bar("b", 0.1))))
    lines = [each.attrib for each in parse(svg).iterfind(".//svg:line[@class='target']", SVG)]
    assert len(lines) == 1
    assert lines[0]["x1"] == lines[0]["x2"]
    assert "n01440764 tench" in svg


def test_a_gallery_has_an_optional_warning_and_can_be_wide() -> None:
    picture = Picture(b"\xff\xd8", "a.jpg")
    blocks = (Gallery("", (picture,), wide=True), Gallery("Mind this.", (picture,)))
    page = Page("A title", (), (Section("One", blocks),), "The foot.")
    assert render_page(page).count('role="note"') == 1
    assert [attributes["class"] for tag, attributes in tags(page) if tag == "div"] == [
        "gallery wide",
        "gallery",
    ]


def test_commands_in_a_paragraph_are_set_as_code_and_single_backticks_stay() -> None:
    lead = ("Measure it with `curate impact train <x>`.", "The file a`b.jpg has 1 faces.")
    text = render_page(replace(PAGE, lead=lead, verdict="1 images; see `curate verify`."))
    assert "<p>Measure it with <code>curate impact train &lt;x&gt;</code>.</p>" in text
    assert "<p>The file a`b.jpg has 1 face.</p>" in text
    assert "1 image; see <code>curate verify</code>." in text


def test_captions_are_outside_of_what_scrolls_and_long_cells_wrap() -> None:
    table = Table("A caption", ("", "x", "y"), (("row", "1.0 (0.5 to 1.5)", "a long reason " * 4),))
    text = render_page(replace(PAGE, sections=(Section("One", (table,)),)))
    assert text.index("<figcaption>A caption</figcaption>") < text.index('<div class="scroll"')
    assert '<td data-column="x">1.0 (0.5 to 1.5)</td>' in text
    assert '<td class="long" data-column="y">a long reason' in text


def test_tables_show_that_they_scroll_and_break_no_words() -> None:
    rows = (("n01440764", "1"), ("Female|young", "2"))
    table = Table("A caption", ("", "smallest of all"), rows)
    text = render_page(replace(PAGE, sections=(Section("One", (table,)),)))
    [scroll] = re.findall(r"\.scroll \{([^}]*)\}", text)
    assert "overflow-x: auto" in scroll
    assert scroll.count("linear-gradient") == 4
    assert scroll.count(") local ") == scroll.count(") scroll ") == 2
    for names, rule in re.findall(r"([^{}]*\bt[hd]\b[^{}]*)\{([^}]*)\}", text):
        if "anywhere" in rule:  # for digests and paths; words are shorter than the width
            assert (names.strip(), "min-width: 12rem" in rule) == ("td.long", True)
    assert '<th scope="col" class="long">smallest of all</th>' in text
    assert '<th scope="row" class="long">n01440764 tench</th>' not in text  # 15 letters
    assert '<th scope="row">n01440764 tench</th>' in text


def test_options_in_a_paragraph_are_not_broken_and_stay_escaped() -> None:
    page = Page("t", ("not checked, requires OUT or --faces; <b>--by-name</b>",), (), "")
    text = render_page(page)
    assert 'or <span style="white-space:nowrap">--faces</span>;' in text
    assert "&lt;b&gt;<span" in text


def test_percent_signs_stay_with_their_numbers() -> None:
    text = render_page(replace(PAGE, lead=("A share of 50 % and 5 %.",)))
    assert "<p>A share of 50\u00a0% and 5\u00a0%.</p>" in text


def test_pairs_stay_side_by_side() -> None:
    pictures = (Picture(b"\xff\xd8", "a, original"), Picture(b"\xff\xd8", "a"))
    gallery = Gallery("", pictures, wide=True, pairs=True)
    text = render_page(replace(PAGE, sections=(Section("One", (gallery,)),)))
    assert '<div class="gallery pairs">' in text


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_long_labels_keep_both_ends(size: Size) -> None:
    labels = [f"n02979186 cassette player – Female, aged from {n} to 99" for n in (20, 30)]
    svg = draw_bars(BarChart("nPMI", tuple(Bar(each, 0.5) for each in labels)), size)
    texts = [each.text or "" for each in parse(svg).iterfind(".//svg:text", SVG)]
    shown = [text for text in texts if text.startswith("n02979186")]
    assert len(set(shown)) == 2
    assert all("…" in text for text in shown)


def test_a_row_of_a_table_wider_than_a_phone_becomes_a_block() -> None:
    cells = ("a", "66.7 % (39.1 to 86.2)", "12.3 % (1.1 to 20.0)")
    wide = Table("wide", ("", "share (95 %)", "other share"), (cells,))
    narrow = Table("narrow", ("", "count", "share"), (("a", "1", "66.7 %"),))
    text = render_page(replace(PAGE, sections=(Section("One", (wide, narrow)),)))
    assert '<table class="stack" aria-label="wide">' in text
    assert '<table aria-label="narrow">' in text
    assert '<td data-column="share (95 %)">66.7 % (39.1 to 86.2)</td>' in text


def test_a_notebook_shows_the_tables_of_a_page_and_few_rows_of_long_ones() -> None:
    long = Table("Long", ("name", EVIL), [(f"row {n}", EVIL) for n in range(100)])
    page = Page("A title", ("About `curate`.",), (Section("One", (EVIL, BARS, long)),), "", EVIL)
    text = render_fragment(page)
    assert text.count("<tr>") == 61
    assert "… and 40 more rows" in text
    assert "<strong>A title</strong>" in text
    assert "<script" not in text
    assert "<pre>" not in text


@pytest.mark.parametrize("name", ["a\x1b[31mb", "x\u202ey", "\x7f\x9b"])
def test_control_characters_of_names_are_shown_as_escapes(name: str) -> None:
    table = Table(caption=name, head=("class", "images"), rows=((name, "1"),))
    chart = BarChart(title=name, bars=(Bar(name, 0.5),))
    page = Page(name, (name,), (Section(name, (table, chart)),), name, name)
    shown = name.encode("unicode_escape").decode()
    for text in (render_page(page, name), render_fragment(page)):
        assert shown in text
        assert not any(mark in text for mark in "\x1b\u202e\x7f\x9b")
