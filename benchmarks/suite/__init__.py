"""The benchmarks behind `benchmarks/run.py`: one module each, with `measure(settings) -> list[Figure]`."""
