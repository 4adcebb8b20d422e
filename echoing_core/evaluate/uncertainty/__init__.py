"""May sigma^2 be trusted? What it follows, on real recordings and on simulated ones."""
