"""The version of this package, for what names it in files."""

__version__ = "0.1.0"
