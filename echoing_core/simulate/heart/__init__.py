"""Patients and their hearts."""
