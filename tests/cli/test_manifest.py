from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from curate.cli.main import group
from curate.core.errors import DataError, ManifestError, SchemaVersionError
from curate.manifest.show import load_manifest
from curate.pipeline.verify import verify
from tests.conftest import ROOT

DEMO = str(ROOT / "manifests/demo")


def run(*arguments: str | Path) -> str:
    done = CliRunner().invoke(group, ["manifest", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


def test_show_describes_the_run() -> None:
    page = run("show", DEMO)
    for words in ("layout imagefolder", "diffuse 1", "written     11", "truncated", "centerface"):
        assert words in page


def test_a_run_with_control_characters_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    shutil.copytree(DEMO, tmp_path / "m")
    facts = json.loads((tmp_path / "m/run.json").read_text())
    facts["obfuscator"]["keeps"] = "\x1b[31mred"
    (tmp_path / "m/run.json").write_text(json.dumps(facts))
    assert "\x1b" not in run("show", tmp_path / "m")


def test_show_describes_a_public_tier(tmp_path: Path) -> None:
    shutil.copytree(DEMO, tmp_path / "out/manifest")
    run("publish", tmp_path / "out", tmp_path / "public")
    page = run("show", tmp_path / "public")
    for words in (
        "public tier 1",
        "layout imagefolder",
        "diffuse 1",
        "written   11",
        "centerface",
    ):
        assert words in page
    found = json.loads(run("show", tmp_path / "public", "--json"))
    assert found == json.loads((tmp_path / "public/run.json").read_text())
    (tmp_path / "public/run.json").write_text(json.dumps({**found, "counts": 5}))
    done = CliRunner().invoke(group, ["manifest", "show", str(tmp_path / "public")])
    assert isinstance(done.exception, (ManifestError, SystemExit))
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        ("public", "public has the public tier of a manifest.*give the OUT that it was published"),
        ("out/manifest", "out/manifest is a part of an output; give .*out"),
        ("out/data", "out/data is a part of an output; give .*out"),
        ("photos", "photos is not an output: .*give the OUT of `curate blur`, not its SOURCE"),
        ("nowhere", "nowhere does not exist; give the OUT"),
        ("file", "file is a file; give a folder"),
        ("begun", "begun is not finished; run the command"),
        ("damaged", r"damaged/manifest/run\.json is missing; restore it"),
        ("balanced", "balanced is the OUT of `curate balance`; give that of `curate blur`"),
    ],
)
def test_a_path_that_is_no_output_is_described(folder: str, message: str, tmp_path: Path) -> None:
    shutil.copytree(DEMO, tmp_path / "out/manifest")
    run("publish", tmp_path / "out", tmp_path / "public")
    for name in ("out/data", "photos", "begun/.curate", "damaged/manifest/records"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "balanced/manifest").mkdir(parents=True)
    (tmp_path / "balanced/manifest/balance.json").write_text("{}")
    (tmp_path / "file").write_text("")
    read: Any = load_manifest if folder == "balanced" else verify
    with pytest.raises(DataError, match=message):
        read(tmp_path / folder)


def test_a_comparison_as_text_and_as_json(tmp_path: Path) -> None:
    shutil.copytree(DEMO, tmp_path / "out/manifest")
    assert "0 faces lost, 0 added" in run("diff", DEMO, tmp_path / "out")
    found = json.loads(run("diff", DEMO, DEMO, "--json"))
    assert found["version"] == 1
    assert found["total"]["images"] == 12


@pytest.mark.parametrize(
    ("version", "error"), [(2, SchemaVersionError), (0, ManifestError), ("1", ManifestError)]
)
@pytest.mark.parametrize("verb", ["show", "diff", "publish"])
def test_versions_that_this_release_does_not_read_are_refused(
    verb: str, version: object, error: type[Exception], tmp_path: Path
) -> None:
    shutil.copytree(DEMO, tmp_path / "out/manifest")
    facts = json.loads((tmp_path / "out/manifest/run.json").read_text())
    facts["schema_version"] = version
    (tmp_path / "out/manifest/run.json").write_text(json.dumps(facts))
    more = {"show": [], "diff": [DEMO], "publish": [str(tmp_path / "p")]}[verb]
    with pytest.raises(error):
        run(verb, tmp_path / "out", *more)
    assert not (tmp_path / "p").exists()


def test_that_nothing_is_withheld_is_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.cli.manifest._iter_withheld", lambda _: iter(()))
    done = CliRunner().invoke(group, ["manifest", "show", str(DEMO), "--withheld"])
    assert done.stderr == f"Nothing is withheld in {DEMO}.\n"
    assert done.stdout == ""


def test_withheld_images_are_listed_with_their_reasons() -> None:
    [line] = run("show", DEMO, "--withheld").splitlines()
    assert line.startswith("train/people/cut_off.jpg: truncated: ")
    entry = json.loads(run("show", DEMO, "--withheld", "--json"))
    assert entry["id"] == "train/people/cut_off.jpg"
