"""Who is in a dataset, in which numbers and under which labels; pure functions of counts."""
