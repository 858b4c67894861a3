"""A stand-in for the package gcsfs: ``gs://`` over the folder that FAKE_GCS names."""

from __future__ import annotations

import os
from typing import Any

from fsspec.implementations.local import LocalFileSystem


class GCSFileSystem(LocalFileSystem):
    """Objects are files; a folder is there as long as an object is in it."""

    protocol = ("gs", "gcs")

    def __init__(self, **options: Any) -> None:
        super().__init__(auto_mkdir=True, **options)

    @classmethod
    def _strip_protocol(cls, path: Any) -> str:
        for name in cls.protocol:
            if str(path).startswith(f"{name}://"):
                path = os.path.join(os.environ["FAKE_GCS"], str(path)[len(name) + 3 :])  # noqa: PTH118
        return str(LocalFileSystem._strip_protocol(path))
