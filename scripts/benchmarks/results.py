"""RESULTS.md: one section per benchmark, replaced when the benchmark runs again."""

from __future__ import annotations

import re
from pathlib import Path

RESULTS = Path(__file__).with_name("RESULTS.md")

HEAD = """# Results

Every figure that the project publishes. `scripts/bench SECTION` measures a section again and
replaces it here, with the commit and the machine (`--save`). Nothing is typed by hand.
Labeled photos are needed that do not ship with the project (`--data FOLDER`). Figures of
different sections were measured at different commits; ratios were measured in one run.
"""


def save_section(name: str, text: str, path: Path = RESULTS) -> None:
    """Replace one section of the results, or add it in alphabetical order.

    Args:
        name: the benchmark's name, as `scripts/bench` takes it.
        text: Markdown with a heading of level two.
        path: the file; made if it does not exist.
    """
    sections = load_sections(path)
    sections[name] = text.strip()
    parts = [HEAD, *(_format_section(each, sections[each]) for each in sorted(sections))]
    path.write_text("\n".join(parts), encoding="utf-8")


def load_sections(path: Path = RESULTS) -> dict[str, str]:
    """Read the sections of the results by name; empty if there is no file."""
    if not path.exists():
        return {}
    found = re.findall(
        r"<!-- section (\S+) -->\n(.*?)\n<!-- end -->", path.read_text(encoding="utf-8"), re.DOTALL
    )
    return {name: text.strip() for name, text in found}


def _format_section(name: str, text: str) -> str:
    return f"<!-- section {name} -->\n{text}\n<!-- end -->\n"
