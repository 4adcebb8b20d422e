"""The version of this package and what it is for: both stand in files and on every screen."""

__version__ = "0.1.0"

DISCLAIMER = "Research use only, not a medical device, not for diagnosis."
