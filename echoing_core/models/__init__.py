"""Networks: tensors in, Gaussians out; no files but checkpoints."""
