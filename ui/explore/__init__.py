"""What the page Explore alone uses."""
