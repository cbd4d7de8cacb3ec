"""Tests of the benchmarks: what they measure is checked, never how fast."""
