"""What the model saw in a recording, ready to be shown or taken away."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from echoing_core.files import write_text_atomically
from echoing_core.records import LEADS, StandardEcg, WindowTrack

if TYPE_CHECKING:
    from echoing_core.uncertainty.reasons import WindowReport

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
    cautions : tuple of str
        Why the model should not be believed on this recording as a whole, in plain sentences.
    """

    recording_id: str
    ecg: StandardEcg
    track: WindowTrack
    model_name: str
    model_hash: str
    settings: Mapping[str, Any]
    cautions: tuple[str, ...] = ()

    def to_dict(self, reports: Mapping[int, WindowReport] | None = None) -> dict[str, Any]:
        """Plain values for JSON.

        Parameters
        ----------
        reports : mapping, optional
            By window number. Only these windows get a sentence: making one takes another pass
            through the model, which a day of windows is not worth.
        """
        track = self.track
        reports = reports or {}
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
            "notes": [*self.ecg.notes, *self.cautions],
            "settings": dict(self.settings),
            "lead_order": list(LEADS),
            "windows": [
                {
                    "start_s": round(float(track.start_s[i]), 3),
                    "uncertainty": float(track.uncertainty[i]),
                    "percentile": round(float(track.percentile[i]), 3),
                    "valid_fraction": round(float(track.valid_fraction[i].mean()), 4),
                }
                | _parts_values(track, i)
                | (_report_values(reports[i]) if i in reports else {})
                for i in range(len(track))
            ],
        }

    def json_text(self, reports: Mapping[int, WindowReport] | None = None) -> str:
        """The text of `to_dict`."""
        return json.dumps(self.to_dict(reports), indent=1) + "\n"

    def csv_text(self) -> str:
        """One row per window, each lead's measured share and its part of the sum of sigma^2.

        Columns that the model knows nothing about are left out.
        """
        track = self.track
        strangeness = () if track.strangeness is None else track.strangeness
        by_lead = () if track.by_lead is None else track.by_lead
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(
            [
                "start_s",
                "end_s",
                "uncertainty",
                "percentile",
                *(["strangeness"] if len(strangeness) else []),
                *(f"valid_{lead}" for lead in LEADS),
                *(f"sigma2_{lead}" for lead in LEADS if len(by_lead)),
            ]
        )
        for i in range(len(track)):
            start = float(track.start_s[i])
            writer.writerow(
                [
                    f"{start:.3f}",
                    f"{start + track.window_s:.3f}",
                    f"{track.uncertainty[i]:.8g}",
                    f"{track.percentile[i]:.3f}",
                    *(f"{value:.4g}" for value in strangeness[i : i + 1]),
                    *(f"{share:.4f}" for share in track.valid_fraction[i]),
                    *(f"{part:.5g}" for parts in by_lead[i : i + 1] for part in parts),
                ]
            )
        return out.getvalue()

    def write_json(self, path: str | Path) -> None:
        """Write `json_text` to a file, whole or not at all."""
        write_text_atomically(Path(path), self.json_text())

    def write_csv(self, path: str | Path) -> None:
        """Write `csv_text` to a file, whole or not at all."""
        write_text_atomically(Path(path), self.csv_text())


def _parts_values(track: WindowTrack, index: int) -> dict[str, Any]:
    """What only a model that tells leads apart says of a window."""
    values: dict[str, Any] = {}
    if track.strangeness is not None:
        values["strangeness"] = _short(track.strangeness[index])
    if track.by_lead is not None:
        values["uncertainty_by_lead"] = [_short(part) for part in track.by_lead[index]]
    return values


def _short(value: float) -> float:
    """Five digits of a 32-bit number: more would be noise, and long."""
    return float(f"{value:.5g}")


def _report_values(report: WindowReport) -> dict[str, Any]:
    return {
        "sentence": report.sentence,
        "blamed_leads": list(report.leads),
        "blamed_span_s": None if report.span_s is None else [round(s, 3) for s in report.span_s],
        "reasons": [
            {"kind": r.kind, "leads": list(r.leads), "share": round(r.share, 4)}
            for r in report.reasons
        ],
    }
