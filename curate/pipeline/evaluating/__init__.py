"""A detector against labelled faces: from a dataset to a report and a page."""
