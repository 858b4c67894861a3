from __future__ import annotations

import subprocess
import sys

import pytest

import curate

HEAVY = ("torch", "cv2", "datasets", "ray", "PIL", "pyarrow", "openvino", "onnxruntime")


def loaded_by(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "code",
    [
        "import curate",
        "from click.testing import CliRunner; from curate.cli.main import group\n"
        "assert CliRunner().invoke(group, ['--help']).exit_code == 0",
        "from click.testing import CliRunner; from curate.cli.main import group\n"
        "assert CliRunner().invoke(group, ['blur', '--help']).exit_code == 0",
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(code: str) -> None:
    assert loaded_by(code).isdisjoint(HEAVY)


def test_all_public_names_resolve_and_are_sorted() -> None:
    assert curate.__all__ == sorted(curate.__all__)
    assert set(curate.__all__) == set(curate._HOMES)
    for name in curate.__all__:
        assert getattr(curate, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such"):
        curate.no_such  # noqa: B018
