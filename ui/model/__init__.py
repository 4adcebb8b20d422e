"""What the page Model alone uses."""
