"""Evaluation of detectors on labeled faces, by face size and by group."""
