"""Small classifiers trained anew: a network from scratch, and a probe on frozen features."""
