"""YOLO as Ultralytics defines it: ``images``, ``labels``, ``data.yaml``."""
