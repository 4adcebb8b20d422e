"""What the page Echo alone uses."""
