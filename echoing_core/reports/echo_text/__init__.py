"""Texts of echo reports: read by rules or by a language model, and written from measured values."""
