"""Noise and faults of recording."""
