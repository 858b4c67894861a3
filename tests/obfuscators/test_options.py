from __future__ import annotations

import subprocess
import sys

import pytest

from curate.core.entries import Scalar
from curate.core.errors import UsageError
from curate.obfuscators import OBFUSCATORS, make
from curate.obfuscators.diffuse import Diffuse
from curate.obfuscators.fill import Fill
from curate.obfuscators.gaussian import Gaussian
from curate.obfuscators.mosaic import Mosaic


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("diffuse", {}, Diffuse()),
        ("diffuse", {"feather": "0.25"}, Diffuse(feather=0.25)),
        ("diffuse", {"feather": 1}, Diffuse(feather=1.0)),
        ("mosaic", {"cells": "6", "smooth": "true"}, Mosaic(cells=6, smooth=True)),
        ("mosaic", {"cells": 6.0, "smooth": False}, Mosaic(cells=6)),
        ("gaussian", {"sigma": "0.5"}, Gaussian(sigma=0.5)),
        ("fill", {"color": 128}, Fill(color="128")),
        ("fill", {"color": "#fff"}, Fill(color="#fff")),
    ],
)
def test_text_and_plain_values_are_read(
    name: str, options: dict[str, Scalar], expected: object
) -> None:
    made = make(name, options)
    assert made == expected
    assert {key: type(value) for key, value in made.parameters.items()} == {
        key: type(value) for key, value in expected.parameters.items()
    }


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("blur", {}, "unknown method 'blur'; choose one of: diffuse, fill"),
        ("diffuse", {"sigma": 1}, "no option 'sigma'; its options: feather"),
        ("imagenet", {"sigma": 1}, "its options: none"),
        ("diffuse", {"feather": "wide"}, "cannot be 'wide'; give a number"),
        ("diffuse", {"feather": "nan"}, "cannot be 'nan'"),
        ("diffuse", {"feather": True}, "cannot be True"),
        ("diffuse", {"feather": None}, "cannot be None"),
        ("diffuse", {"feather": 1.5}, "from 0 to 1"),
        ("mosaic", {"cells": 4.5}, "give a whole number"),
        ("mosaic", {"cells": float("inf")}, "give a whole number"),
        ("mosaic", {"cells": True}, "give a whole number"),
        ("mosaic", {"smooth": "perhaps"}, "give true or false"),
        ("fill", {"color": None}, "give text"),
    ],
)
def test_invalid_options_raise_one_line(
    name: str, options: dict[str, Scalar], message: str
) -> None:
    with pytest.raises(UsageError) as error:
        make(name, options)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_every_summary_says_what_survives() -> None:
    for name, summary in OBFUSCATORS.describe():
        nothing = name in ("diffuse", "fill")
        assert ("nothing" in summary) == nothing
        assert nothing or "surviv" in summary or "visible" in summary


def test_listing_the_methods_imports_no_heavy_library() -> None:
    program = (
        "import sys, curate.obfuscators as o; list(o.OBFUSCATORS.describe()); "
        "print(sorted({'cv2', 'PIL', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
