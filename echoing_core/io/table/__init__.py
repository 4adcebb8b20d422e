"""Recordings in tables: CSV, Parquet, NPY, MAT."""
