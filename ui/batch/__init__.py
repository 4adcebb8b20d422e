"""What the page Batch alone uses."""
