"""Many recordings at once, in a table."""

from __future__ import annotations

from ui import frame, resources
from ui.batch import files, results

frame.title("Look at many recordings")
model = resources.model()
with frame.guarded():
    files.chooser(model)
with frame.guarded():
    results.results(model)
