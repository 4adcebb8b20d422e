"""What the page Ask alone uses."""
