"""Figures with intervals: metrics, bootstrap, distances, probe, results."""
