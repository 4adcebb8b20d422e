"""WFDB records: header, signal files, writing."""
