"""What the model saw in a recording, ready to be shown or taken away."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from echoing_core.files import write_text_atomically
from echoing_core.records import LEADS, StandardEcg, WindowTrack

DISCLAIMER = "Research use only, not a medical device, not for diagnosis."


@dataclass(frozen=True, eq=False)
class Explanation:
    """sigma^2 over sliding windows of one recording, and everything needed to judge it.

    Attributes
    ----------
    recording_id : str
    ecg : StandardEcg
        What the model was given: 12 leads at 100 Hz, and which of them are real.
    track : WindowTrack
    model_name, model_hash : str
    settings : mapping
        Window, stride, VCG method, source sampling rate.
    """

    recording_id: str
    ecg: StandardEcg
    track: WindowTrack
    model_name: str
    model_hash: str
    settings: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        track = self.track
        return {
            "disclaimer": DISCLAIMER,
            "recording": self.recording_id,
            "simulated": self.ecg.simulated,
            "duration_s": round(self.ecg.duration_s, 3),
            "model": self.model_name,
            "model_hash": self.model_hash,
            "leads": {
                "found": list(self.ecg.leads_with("measured")),
                "derived": list(self.ecg.leads_with("derived")),
                "missing": list(self.ecg.leads_with("missing")),
                "derivation": self.ecg.derivation,
            },
            "notes": list(self.ecg.notes),
            "settings": dict(self.settings),
            "windows": [
                {
                    "start_s": round(float(track.start_s[i]), 3),
                    "uncertainty": float(track.uncertainty[i]),
                    "percentile": round(float(track.percentile[i]), 3),
                    "valid_fraction": round(float(track.valid_fraction[i].mean()), 4),
                }
                for i in range(len(track))
            ],
        }

    def json_text(self) -> str:
        return json.dumps(self.to_dict(), indent=1) + "\n"

    def csv_text(self) -> str:
        """One row per window; the last twelve columns are each lead's measured share."""
        track = self.track
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(
            ["start_s", "end_s", "uncertainty", "percentile", *(f"valid_{lead}" for lead in LEADS)]
        )
        for i in range(len(track)):
            start = float(track.start_s[i])
            writer.writerow(
                [
                    f"{start:.3f}",
                    f"{start + track.window_s:.3f}",
                    f"{track.uncertainty[i]:.8g}",
                    f"{track.percentile[i]:.3f}",
                    *(f"{share:.4f}" for share in track.valid_fraction[i]),
                ]
            )
        return out.getvalue()

    def write_json(self, path: str | Path) -> None:
        """Write `json_text` to a file, whole or not at all."""
        write_text_atomically(Path(path), self.json_text())

    def write_csv(self, path: str | Path) -> None:
        """Write `csv_text` to a file, whole or not at all."""
        write_text_atomically(Path(path), self.csv_text())
