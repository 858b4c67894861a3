"""Execution: shards (units of work) and the executors that process them."""
