"""Measurements of paramstore beside a baseline of the same run: ``python -m benchmarks``."""
