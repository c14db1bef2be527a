"""Starts, memory and throughput of the runner and its peers: for benchmarks/ and `runner bench`."""
