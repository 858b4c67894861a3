"""Ways to say which pixels a classifier's answer rests on, one file each.

A method is one file with a function that opens it, and one line in `METHODS`. Opening
takes a classifier, an image as the classifier is given it, and `Options`, and returns a
`curate.impact.explain.attribution.method.Method`; a method that a classifier does not allow raises
`UsageError` and says why.
"""

from __future__ import annotations

from curate.core.registry import Plugin, Registry

_ROOM = "curate.impact.explain.attribution"

METHODS = Registry(
    "method",
    [
        (
            "gradcam",
            Plugin(
                f"{_ROOM}.gradcam:open_gradcam",
                "Grad-CAM, where the last layer that still is an image speaks for the class",
                requires=("captum",),
                extra="explain",
            ),
        ),
        (
            "lrp",
            Plugin(
                f"{_ROOM}.lrp:open_lrp",
                "layer-wise relevance propagation, where each layer has a rule",
                requires=("captum",),
                extra="explain",
            ),
        ),
        (
            "lime",
            Plugin(
                f"{_ROOM}.lime:open_lime",
                "LIME, a linear model of the score over superpixels that are there or not",
                requires=("captum", "sklearn", "skimage"),
                extra="explain",
            ),
        ),
        (
            "shap",
            Plugin(
                f"{_ROOM}.shap:open_shap",
                "KernelSHAP, Shapley values of superpixels, estimated by sampling",
                requires=("captum", "sklearn", "skimage"),
                extra="explain",
            ),
        ),
    ],
)
