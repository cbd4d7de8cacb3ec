"""Weights that others published, in their own formats, brought into this package's networks."""
