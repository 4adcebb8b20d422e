"""What echo reports say, read from their sentences."""
