"""ECGs of simulated hearts."""
