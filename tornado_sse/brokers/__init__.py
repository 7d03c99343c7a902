"""Brokers: the seam in `base`, one implementation a file."""
