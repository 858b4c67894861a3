"""Evaluation of detectors on labelled faces, by face size and by group."""
