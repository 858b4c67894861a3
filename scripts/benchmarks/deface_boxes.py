"""Write down deface's boxes and the regions that it masks, by its own code.

Runs in an environment of deface's own, as ``python deface_boxes.py FOLDER BACKEND OUT.json``:
for every image below FOLDER what deface's command does at its defaults (threshold 0.2,
no scaling, boxes grown by `deface.deface.scale_bb` with 1.3, which adds 0.3 of a box's
width and height on *each* side). Its default mask is the ellipse inside that rectangle;
the rectangle is written down, which counts in deface's favour.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

THRESHOLD, MASK_SCALE = 0.2, 1.3


def main(folder: Path, backend: str, out: Path) -> None:
    """Detect in every image below ``folder``."""
    import imageio.v2 as iio
    from deface.centerface import CenterFace
    from deface.deface import scale_bb

    network = CenterFace(in_shape=None, backend=backend)
    answers = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        frame = iio.imread(path)
        found, _ = network(frame, threshold=THRESHOLD)
        hidden = []
        for detection in found:
            x0, y0, x1, y1 = scale_bb(*detection[:4].astype(int), MASK_SCALE)
            x0, y0 = max(0, int(x0)), max(0, int(y0))
            x1, y1 = min(frame.shape[1] - 1, int(x1)), min(frame.shape[0] - 1, int(y1))
            if x1 > x0 and y1 > y0:
                hidden.append([x0, y0, x1, y1])
        answers[path.relative_to(folder).as_posix()] = {
            "detections": [[float(value) for value in detection[:5]] for detection in found],
            "hidden": hidden,
        }
    out.write_text(json.dumps(answers), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
