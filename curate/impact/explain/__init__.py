"""Attribution: how much of a classifier's evidence lies on faces."""
