"""sigma^2 along a recording as one frozen value, and its exports: JSON, CSV and Parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from echoing_core.export.annotations import annotation_values
from echoing_core.models.config import DISPLACEMENT, MATCHING
from echoing_core.records import LEADS, StandardEcg, WindowTrack
from echoing_core.signals.lead_sets import ALL_KEY, LeadSet, measured_words
from echoing_core.uncertainty.meaning import MEANINGS
from echoing_core.uncertainty.reference import LeadReference, Reference
from echoing_core.version import DISCLAIMER

if TYPE_CHECKING:
    from echoing_core.uncertainty.reasons import WindowReasons

# By the first word of a column: more digits than these would be noise.
_CSV_FORMATS = {
    "start": ".3f",
    "end": ".3f",
    "uncertainty": ".8g",
    "percentile": ".3f",
    "strangeness": ".4g",
    "valid": ".4f",
    "sigma2": ".5g",
}


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
    lead_set : LeadSet
        The leads that the recording has at all.
    lead_reference : Reference
        Reference ECGs with the same leads.
    all_reference : Reference
        Reference ECGs with 12 leads.
    cautions : tuple of str
        Why the model should not be believed on this recording as a whole, in plain sentences.
    """

    recording_id: str
    ecg: StandardEcg
    track: WindowTrack
    model_name: str
    model_hash: str
    settings: Mapping[str, Any]
    lead_set: LeadSet
    lead_reference: Reference
    all_reference: Reference
    cautions: tuple[str, ...] = ()
    among_all: bool = False
    """The percentiles of the track are those among 12-lead ECGs, by `read_among`."""
    sigma2: str = DISPLACEMENT
    """Which sigma^2 the track is of: what it is learnt from."""
    sigma2_means: str = MEANINGS[DISPLACEMENT]
    """What it says of a window, in a sentence or two."""
    has_sigma2: bool = True
    """Without, one constant stands for it, and no percentile of it is told."""
    other_reference: Reference | None = None
    """12-lead reference ECGs for the model's other sigma^2, where it has two."""

    @property
    def reference(self) -> Reference:
        """What the percentiles of the track compare with."""
        return self.all_reference if self.among_all else self.lead_reference

    def read_among(self, *, all_leads: bool) -> Explanation:
        """The other reading of the same sigma^2.

        Parameters
        ----------
        all_leads : bool
            Compare with 12-lead ECGs, not with ECGs that have the leads of this recording.

        Returns
        -------
        Explanation
            Itself where nothing changes. A percentile is a rising function of sigma^2 in both
            readings, so no order of windows does.
        """
        if all_leads == self.among_all or self.lead_reference is self.all_reference:
            return self
        reference = self.all_reference if all_leads else self.lead_reference
        percentile = reference.percentile(self.track.uncertainty)
        return replace(self, track=replace(self.track, percentile=percentile), among_all=all_leads)

    @property
    def measured(self) -> str:
        """Which leads the recording measures, and what its percentiles compare with."""
        return f"{measured_words(self.ecg)}. {self.compared}"

    @property
    def compared(self) -> str:
        """What the percentiles of the track compare with, as a sentence."""
        reference = self.reference
        # Of a model that knows 12-lead ECGs only, a person has to be told that unlike is compared.
        alike = reference.leads_key == self.lead_set.key
        which = "12-lead ECGs" if reference.leads_key == ALL_KEY else "ECGs reduced to these leads"
        if isinstance(reference, LeadReference) and reference.lead_set.vcg is not None:
            which = "ECGs reduced to X, Y and Z, with the leads derived as here"
        simulated = " (all simulated)" if reference.simulated else ""
        words = f"Percentiles compare with {reference.n:,} {which}{simulated}: {reference.name}."
        if alike or self.among_all:
            return words
        return f"{words} This model has no reference for fewer leads, which raises them."

    def to_dict(self, reports: Mapping[int, WindowReasons] | None = None) -> dict[str, Any]:
        """Plain values for JSON.

        Parameters
        ----------
        reports : mapping, optional
            By window number. Only these windows get a sentence: making one takes another pass
            through the model, which a day of windows is not worth.
        """
        # A key means the same in every file, whatever is on the screen.
        track = self.read_among(all_leads=False).track
        among_all = self.all_reference.percentile(track.uncertainty)
        reports = reports or {}
        return {
            "disclaimer": DISCLAIMER,
            "recording": self.recording_id,
            "simulated": self.ecg.simulated,
            "duration_s": round(self.ecg.recorded_s, 3),
            "model": self.model_name,
            "model_hash": self.model_hash,
            "sigma2": self.sigma2,
            "sigma2_means": self.sigma2_means,
            "leads": {
                "found": list(self.ecg.leads_with("measured")),
                "derived": list(self.ecg.leads_with("derived")),
                "missing": list(self.ecg.leads_with("missing")),
                "derivation": self.ecg.derivation,
                "set": self.lead_set.key,
            },
            "percentile_compares_with": {
                "leads": self.lead_reference.leads_key,
                "ecgs": self.lead_reference.name,
                "n": self.lead_reference.n,
                "simulated": self.lead_reference.simulated,
            },
            "percentile_12_leads_compares_with": {
                "leads": self.all_reference.leads_key,
                "ecgs": self.all_reference.name,
                "n": self.all_reference.n,
                "simulated": self.all_reference.simulated,
            },
            "notes": [*self.ecg.notes, *self.cautions],
            "device": annotation_values(self.ecg.annotations),
            "settings": dict(self.settings),
            "lead_order": list(LEADS),
            "windows": [
                {
                    "start_s": round(float(track.start_s[i]), 3),
                    "uncertainty": float(track.uncertainty[i]) if self.has_sigma2 else None,
                    "percentile": round(float(track.percentile[i]), 3) if self.has_sigma2 else None,
                    "percentile_12_leads": (
                        round(float(among_all[i]), 3) if self.has_sigma2 else None
                    ),
                    "valid_fraction": round(float(track.valid_fraction[i].mean()), 4),
                }
                | {name: _short(values[i]) for name, values in self._other_sigma2().items()}
                | _attribution_values(track, i)
                | (_report_values(reports[i]) if i in reports else {})
                for i in range(len(track))
            ],
        }

    def json_text(self, reports: Mapping[int, WindowReasons] | None = None) -> str:
        """The text of `to_dict`, as ``echoing explain --json`` writes it."""
        return json.dumps(self.to_dict(reports), indent=1) + "\n"

    def columns(self) -> dict[str, npt.NDArray[np.float64]]:
        """The track as columns, one value per window.

        Start and end, the uncertainty, its percentile among ECGs with the same leads and among
        12-lead ECGs, each lead's measured share, and its term of the sum of sigma^2. Columns that
        the model knows nothing about are left out.
        """
        track = self.read_among(all_leads=False).track
        columns: dict[str, npt.ArrayLike] = {
            "start_s": track.start_s,
            "end_s": track.start_s + track.window_s,
        }
        if self.has_sigma2:
            columns |= {
                "uncertainty": track.uncertainty,
                "percentile": track.percentile,
                "percentile_12_leads": self.all_reference.percentile(track.uncertainty),
            }
        columns |= self._other_sigma2()
        if track.novelty is not None:
            columns["strangeness"] = track.novelty
        columns |= {f"valid_{lead}": track.valid_fraction[:, i] for i, lead in enumerate(LEADS)}
        if track.by_lead is not None:
            columns |= {f"sigma2_{lead}": track.by_lead[:, i] for i, lead in enumerate(LEADS)}
        return {name: np.asarray(values, dtype=np.float64) for name, values in columns.items()}

    def _other_sigma2(self) -> dict[str, npt.NDArray[np.float64]]:
        """The model's other sigma^2 by its name, and its percentile among 12-lead ECGs."""
        values, reference = self.track.other_sigma2, self.other_reference
        if values is None or reference is None:
            return {}
        kind = MATCHING if self.sigma2 == DISPLACEMENT else DISPLACEMENT
        return {
            f"uncertainty_{kind}": values.astype(np.float64),
            f"percentile_12_leads_{kind}": reference.percentile(values),
        }

    def csv_text(self) -> str:
        """`columns` as CSV, one row per window."""
        columns = self.columns()
        formats = [_CSV_FORMATS[name.split("_")[0]] for name in columns]
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(columns)
        for row in zip(*columns.values(), strict=True):
            writer.writerow([f"{value:{form}}" for value, form in zip(row, formats, strict=True)])
        return out.getvalue()

    def parquet_bytes(self) -> bytes:
        """`columns` as a Parquet file whose metadata say what made it."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        about = {
            "disclaimer": DISCLAIMER,
            "recording": self.recording_id,
            "simulated": json.dumps(self.ecg.simulated),
            "model": self.model_name,
            "model_hash": self.model_hash,
            "sigma2": self.sigma2,
            "settings": json.dumps(dict(self.settings)),
            "lead_set": self.lead_set.key,
            "percentile_compares_with": self.lead_reference.name,
            "lead_origin": json.dumps(dict(zip(LEADS, self.ecg.lead_origin, strict=True))),
        }
        table = pa.table(self.columns()).replace_schema_metadata(about)
        out = io.BytesIO()
        pq.write_table(table, out)
        return out.getvalue()


def _attribution_values(track: WindowTrack, index: int) -> dict[str, Any]:
    """What only a model whose sigma^2 is a sum over leads says of a window."""
    values: dict[str, Any] = {}
    if track.novelty is not None:
        values["strangeness"] = _short(track.novelty[index])
    if track.by_lead is not None:
        values["uncertainty_by_lead"] = [_short(term) for term in track.by_lead[index]]
    return values


def _short(value: float) -> float:
    """Five digits of a 32-bit number: more would be noise, and long."""
    return float(f"{value:.5g}")


def _report_values(report: WindowReasons) -> dict[str, Any]:
    return {
        "sentence": report.sentence,
        "blamed_leads": list(report.leads),
        "blamed_span_s": None if report.span_s is None else [round(s, 3) for s in report.span_s],
        "reasons": [
            {"kind": r.kind, "leads": list(r.leads), "share": round(r.share, 4)}
            for r in report.reasons
        ],
    }
