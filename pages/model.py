"""What the model is, what it was trained on, and what its uncertainty is measured against."""

from __future__ import annotations

from ui import frame, record, resources
from ui.model import about

frame.title("The model")
with frame.guarded():
    about.choice()
model = resources.model()
frame.training_note(model)
with frame.guarded():
    about.abilities(model)
with frame.guarded():
    about.facts(model)
with frame.guarded():
    about.reference(model, record.opened())
with frame.guarded():
    about.card(model)
