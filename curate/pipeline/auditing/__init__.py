"""Who is in a dataset, and which of its labels are safe: from tables and datasets to a report."""
