"""The papers' protocols: how a model is asked, probed, tuned and searched, and their tables."""
