"""Train on one dataset, test on the other: statistics of the four cells; pure."""
