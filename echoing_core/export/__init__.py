"""What is taken away: track, document, batch table."""
