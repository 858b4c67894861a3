from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import cv2


def installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def test_the_two_opencv_packages_are_of_one_version() -> None:
    """Both write the folder cv2, and the last one installed wins: they must be the same."""
    found = {installed(name) for name in ("opencv-python", "opencv-python-headless")} - {None}
    assert len(found) == 1
    assert found.pop().startswith(cv2.__version__)
