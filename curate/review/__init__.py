"""People correct the boxes of a detector, and a bound on what is still missed."""
