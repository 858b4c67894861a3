from __future__ import annotations

import shutil
from pathlib import Path

from curate.manifest.show import load_manifest
from curate.pipeline.sheet import SheetOptions, make_sheet, save_sheet
from curate.report.page import render_page
from tests.report.checks import check_page


def test_the_page_shows_obfuscated_images_only_unless_originals_are_requested(
    finished: Path, photos: Path, tmp_path: Path
) -> None:
    faces = load_manifest(finished).counts["images_with_faces"]
    save_sheet(finished, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/jpeg") == faces
    assert "do not share" not in page
    assert 'src="http' not in page
    save_sheet(finished, tmp_path / "shown.html", SheetOptions(source=str(photos)))
    shown = (tmp_path / "shown.html").read_text()
    assert shown.count("data:image/jpeg") == 2 * faces
    assert "contains visible faces; do not share it" in shown
    check_page(page, finished.name)
    save_sheet(finished, tmp_path / "named.html", SheetOptions(inputs=(str(photos), "b/out")))
    check_page((tmp_path / "named.html").read_text(), photos.name, "b/out")


def test_the_page_has_a_verdict_and_every_withheld_image_with_its_reason(finished: Path) -> None:
    page = make_sheet(finished, SheetOptions())
    counts = load_manifest(finished).counts
    assert page.verdict is not None
    assert page.verdict.startswith(f"{counts['faces']} faces were hidden in")
    assert "1 image was withheld" in render_page(page)
    text = render_page(page)
    [withheld] = load_manifest(finished).withheld()
    assert withheld.id in text
    assert "truncated" in text


def test_the_page_states_whether_all_images_with_faces_are_shown(
    finished: Path, photos: Path
) -> None:
    faces = load_manifest(finished).counts["images_with_faces"]
    for source in (None, str(photos)):
        every = render_page(make_sheet(finished, SheetOptions(source=source)))
        assert f"All {faces} images with faces" in every
        some = render_page(make_sheet(finished, SheetOptions(source=source, sample=1)))
        assert f"A random sample of the {faces} images with faces" in some


def test_the_sample_is_limited_and_repeatable(finished: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(finished, tmp_path / "out")
    pages = [render_page(make_sheet(out, SheetOptions(sample=2))) for out in (finished, Path(copy))]
    assert pages[0] == pages[1]
    assert pages[0].count("data:image/jpeg") == 2
