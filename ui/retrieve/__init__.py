"""What the page Retrieve alone uses."""
