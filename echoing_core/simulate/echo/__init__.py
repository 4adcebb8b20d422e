"""Echo clips of the same hearts."""
