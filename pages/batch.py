"""Many recordings at once, in a table."""

from __future__ import annotations

from ui import batch, frame, resources

frame.title("Look at many recordings")
model = resources.model()
with frame.guarded():
    batch.chooser(model)
with frame.guarded():
    batch.results(model)
