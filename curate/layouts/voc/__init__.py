"""Pascal VOC: ``Annotations``, ``ImageSets`` and ``JPEGImages``."""
