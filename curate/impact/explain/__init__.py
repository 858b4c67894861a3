"""Attribution: how much of a classifier's decision rests on faces."""
