"""A method's bytes change only with its version, and not with the machine."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from curate.core.geometry import Box
from curate.obfuscators import make
from tests.obfuscators.pictures import pattern, regions_of

FACES = [Box(20, 30, 70, 95), Box(60, 80, 90, 120), Box(150, -10, 230, 60), Box(5, 140, 9, 145)]
OPTIONS = {"mosaic": {"smooth": True, "feather": 0.1}, "imagenet": {}}

DIGESTS = {
    ("diffuse", "1", "uint8"): "0caec96b214eca7cb2c6d6e201fc7202531085841618e33e001ac4725d0e80e6",
    ("diffuse", "1", "uint16"): "1dd83334b071406cc369dc05135d65249d4864ce2b3a17a90b3fd383ae465502",
    ("fill", "1", "uint8"): "368fe2a63a58bf1b7210e5dc6f5282e20f06a3ecd6ab958fa5711152dcf3019d",
    ("fill", "1", "uint16"): "740b4f92abce49c3f74a9ea383beb5b6e1443af70048d2bc1cb41a378190bd54",
    ("mosaic", "1", "uint8"): "929ca917ec1b8b661f325c09a5257e80a7eaaf10cb20f0437558ea9f0491320b",
    ("mosaic", "1", "uint16"): "cadb0c0b570d7e8eb5f5344842ec2b77bedff661b740f9c3ebaa1575b2022408",
    ("gaussian", "1", "uint8"): "74a85ba57d9cdf298674b1d417d0164d1ae31d3b96d7553b86509639609147d2",
    ("gaussian", "1", "uint16"): "8feb5040bede750e1507a4823730ee461313db2fca35152da7e51338d59c92ac",
    ("imagenet", "1", "uint8"): "0a35c6221a1f3ac7e3dab961e9aa9c1443d15e78ac4c4e0bddabb5d690819399",
}


def digest(method: str, dtype: str) -> str:
    """SHA-256 of one picture's pixels after a method."""
    image = pattern(157, 211, 3, dtype)
    obfuscator = make(method, OPTIONS.get(method, {"feather": 0.1}))
    output = obfuscator.apply(image, regions_of(FACES, 211, 157))
    return hashlib.sha256(output.tobytes()).hexdigest()


@pytest.mark.parametrize(("method", "version", "dtype"), DIGESTS)
def test_bytes_are_those_of_the_version(method: str, version: str, dtype: str) -> None:
    assert make(method, {}).version == version
    assert digest(method, dtype) == DIGESTS[method, version, dtype]


def test_a_processor_without_wide_vectors_gives_the_same_bytes() -> None:
    wide = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    plain = {
        "OPENCV_CPU_DISABLE": "AVX512-SKX,AVX2,AVX,FP16,FMA3,SSE4.2,SSE4.1,SSSE3",
        "OPENCV_IPP": "disabled",
        "OPENBLAS_CORETYPE": "Nehalem",
        "NPY_DISABLE_CPU_FEATURES": ",".join(wide),
    }
    program = (
        "from tests.obfuscators.test_versions import DIGESTS, digest\n"
        "print(*(digest(method, dtype) for method, _, dtype in DIGESTS))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | plain,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == list(DIGESTS.values())
