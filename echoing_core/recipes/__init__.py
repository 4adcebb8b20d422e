"""Whole runs from a preset: what is trained on what, validated how, and compared with what."""
