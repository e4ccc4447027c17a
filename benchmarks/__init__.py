"""Benchmarks: this client beside the official one and redis-py, in the same run."""
