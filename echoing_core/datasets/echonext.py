"""EchoNext 1.1 (PhysioNet): 10-s ECGs with the findings of an echocardiogram of the same patient.

``EchoNext_{train,val,test,no_split}_waveforms.npy`` of shape (n, 1, 2500, 12) at 250 Hz and
``echonext_metadata_100k.csv``; row k of a split's array is the k-th row of that split in the table.
Rows of ``no_split`` belong to none and are left out. The arrays of tabular features are not read:
the table says the same under names, and the published order of their columns is not the true one.

The waveforms are no millivolts. They were median-filtered, clipped and divided by a standard
deviation of the whole set, and the unit cannot be had back. A model reads millivolts, so each lead
is brought to the standard deviation that it has in PTB-XL; what is measured in millivolts, such as
a voltage criterion, must not be read off these ECGs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from echoing_core.datasets.adapter import NO_FILE, PADDING_HELP, LeftOut, Plan
from echoing_core.errors import DataSetError, SignalQualityError, UnreadableRecordError
from echoing_core.records import LEADS, LONG_PADDING, FilterPadding, Recording, StandardEcg
from echoing_core.reports.vocabulary import SLVH_WALL_MM
from echoing_core.signals.standard import standardise

if TYPE_CHECKING:
    import pandas as pd

METADATA = "echonext_metadata_100k.csv"
FS_HZ = 250.0
N_TIMES = 2500

PTBXL_SD_MV = (0.148, 0.148, 0.137, 0.131, 0.122, 0.122, 0.196, 0.305, 0.293, 0.266, 0.240, 0.204)
"""Standard deviation of each lead, in the order of `LEADS`, 0.5-40 Hz, over 1,499 ECGs of folds 1-8
of PTB-XL (Wagner et al. 2020)."""

FLAGS: dict[str, tuple[str, ...]] = {
    "lvef_lte_45_flag": ("lvef_value",),
    "lvwt_gte_13_flag": ("ivs_measurement", "lvpw_measurement"),
    "aortic_stenosis_moderate_or_greater_flag": ("aortic_stenosis_value",),
    "aortic_regurgitation_moderate_or_greater_flag": ("aortic_regurgitation_value",),
    "mitral_regurgitation_moderate_or_greater_flag": ("mitral_regurgitation_value",),
    "tricuspid_regurgitation_moderate_or_greater_flag": ("tricuspid_regurgitation_value",),
    "pulmonary_regurgitation_moderate_or_greater_flag": ("pulmonary_regurgitation_value",),
    "rv_systolic_dysfunction_moderate_or_greater_flag": ("rv_systolic_function_value",),
    "pericardial_effusion_moderate_large_flag": ("pericardial_effusion_value",),
    "pasp_gte_45_flag": ("pasp_value",),
    "tr_max_gte_32_flag": ("tr_max_velocity_value",),
}
"""The eleven findings, and the columns that show whether each was looked at."""

COMPOSITE = "shd_moderate_or_greater_flag"

_SPLITS = {"train": "train", "val": "valid", "test": "test"}
_NEEDED = ("ecg_key", "patient_key", "split", "sex", "age_at_ecg", *FLAGS, COMPOSITE)
_FURTHER = (
    "acquisition_year",
    "location_setting",
    "race_ethnicity",
    "most_recent_ecg",
    "ventricular_rate",
    "atrial_rate",
    "pr_interval",
    "qrs_duration",
    "qt_corrected",
    "pasp_value",
    "tr_max_velocity_value",
)
_WORDS = ("location_setting", "race_ethnicity")
_GRADED = tuple(
    name
    for names in FLAGS.values()
    for name in names
    if name.endswith(("stenosis_value", "regurgitation_value", "function_value", "effusion_value"))
)
_BLANK = ("", "nan", "na", "n/a", "null")
_SEXES = {"male": "m", "m": "m", "female": "f", "f": "f"}
# Ranges outside of which a value is a slip of the pen or of the unit.
_LVEF_PCT = (1.0, 100.0)
_WALL_CM = (0.2, 6.0)
# De-identified tables write all ages above 89 as one value.
_OLDEST = 90.0
# Enough for two digits of a standard deviation; the whole train array has 70,000 ECGs.
_N_SAMPLED = 256
_MIN_VALID_SHARE = 0.8


@dataclass(frozen=True)
class EchoNext:
    """EchoNext 1.1; options are the fields."""

    amplitudes: Literal["ptbxl", "published"] = field(
        default="ptbxl",
        metadata={
            "help": "Bring each lead to its standard deviation in PTB-XL (mV), or leave the "
            "numbers as they are published, which are no mV."
        },
    )
    not_measured: Literal["unknown", "negative"] = field(
        default="unknown",
        metadata={
            "help": "What a flag of 0 is where the table has no measurement: unknown, or "
            "negative as published."
        },
    )
    lvef_below_pct: float = field(
        default=40.0, metadata={"help": "Ejection fractions below it are positive."}
    )
    slvh_wall_mm: float = field(
        default=SLVH_WALL_MM,
        metadata={"help": "Severe hypertrophy: septum or posterior wall from this on."},
    )
    filter_padding: FilterPadding = field(default=LONG_PADDING, metadata=PADDING_HELP)

    @property
    def name(self) -> str:
        return "echonext"

    def plan(self, root: Path) -> Plan:
        """Pair the table with the arrays; see `Adapter.plan`.

        Some hundred ECGs are opened, for the standard deviation of each lead.

        Raises
        ------
        DataSetError
            The table or all arrays are missing, are not as published, or do not fit each other.
        """
        import pandas as pd

        metadata = _read_metadata(root)
        left_out: list[LeftOut] = []
        parts: list[pd.DataFrame] = []
        arrays: list[npt.NDArray[np.floating]] = []
        # Splits that are published but have no arrays of their own come last, to be left out with
        # a reason.
        splits = [*_SPLITS, *sorted(set(metadata["split"]) - set(_SPLITS))]
        for split in splits:
            rows = metadata[metadata["split"] == split]
            if rows.empty:
                continue
            ids = [f"echonext-{key}" for key in rows["ecg_key"]]
            name = f"EchoNext_{split}_waveforms.npy"
            if split not in _SPLITS:
                reason = "no_split" if split == "no_split" else "unknown split"
                left_out += [LeftOut(i, reason, f"split {split}") for i in ids]
            elif not (root / name).is_file():
                left_out += [LeftOut(i, NO_FILE, name) for i in ids]
            else:
                array = _waveforms(root / name)
                # Rows of the table and of the array belong together by their order alone: a count
                # is all that can be checked.
                if len(array) != len(rows):
                    raise DataSetError(
                        f"{name} holds {len(array)} ECGs, and {METADATA} lists {len(rows)} of the "
                        f"split {split}. They belong together by their order, so use both as "
                        "published."
                    )
                arrays.append(array)
                parts.append(
                    self._rows(rows, ids).assign(
                        split=_SPLITS[split], path=name, row=np.arange(len(rows))
                    )
                )
        if not parts:
            raise DataSetError(
                f"There is no EchoNext_train_waveforms.npy in {root.name or root}, nor one of val "
                f"or test. Put them beside {METADATA}, as EchoNext is published."
            )
        table = pd.concat(parts, ignore_index=True)
        _check_patients(table)
        # Train comes first in the set; whichever is there stands for the whole.
        scale = self._mv_per_unit(arrays[0])
        # In the table, so that a worker needs no more than its row; Parquet has no tuple.
        table["mv_per_unit"] = " ".join(f"{value:.6g}" for value in scale)
        return Plan(table, tuple(left_out), self._card(metadata, scale))

    def read(self, root: Path, row: Mapping[str, Any]) -> StandardEcg:
        """Read one ECG; see `Adapter.read`.

        Raises
        ------
        UnreadableRecordError
            The array has changed since the plan was made.
        SignalQualityError
            Less than 80 % of it was measured.
        """
        name = str(row["path"])
        try:
            array = _waveforms(root / name)
            # (1, 2500, 12) to 12 rows of 2500 samples.
            unitless = np.array(array[int(row["row"]), 0], dtype=np.float64).T
        except (OSError, IndexError, DataSetError) as error:
            raise UnreadableRecordError(
                f"{name} is no longer the array that was planned; prepare the set anew."
            ) from error
        scale = np.array([float(part) for part in str(row["mv_per_unit"]).split()])
        # Infinite numbers are as good as none.
        unitless[~np.isfinite(unitless)] = np.nan
        recording = Recording(
            signal_mv=(unitless * scale[:, None]).astype(np.float32),
            fs_hz=FS_HZ,
            lead_names=LEADS,
            record_id=str(row["record_id"]),
            notes=("Amplitudes were normalised by the data set; they are no measured mV.",),
            file_format="NumPy",
        )
        ecg = standardise(recording, filter_padding=self.filter_padding)
        # Nothing of it is flagged by the publisher, so gaps are judged here.
        if ecg.valid.mean() < _MIN_VALID_SHARE:
            raise SignalQualityError(
                f"Of {ecg.record_id}, {ecg.valid.mean():.0%} was measured; {_MIN_VALID_SHARE:.0%} "
                "are needed."
            )
        return ecg

    def _rows(self, rows: pd.DataFrame, ids: list[str]) -> pd.DataFrame:
        """Table rows of one split, without the place of their waveforms."""
        import pandas as pd

        # Ejection fraction in percent, walls from cm to mm.
        lvef_pct = _number(rows, "lvef_value", *_LVEF_PCT)
        wall_mm = {
            name: 10.0 * _number(rows, name, *_WALL_CM)
            for name in ("ivs_measurement", "lvpw_measurement")
        }
        septum_mm, posterior_mm = wall_mm.values()
        # fmax: of one that is known and one that is not, the known.
        thickest = pd.Series(np.fmax(septum_mm, posterior_mm), index=rows.index)
        both_known = septum_mm.notna() & posterior_mm.notna()
        slvh = (thickest >= self.slvh_wall_mm).astype(float)
        columns: dict[str, Any] = {
            "source": self.name,
            "patient_id": [f"echonext-p{key}" for key in rows["patient_key"]],
            "study_id": ids,
            "record_id": ids,
            "split": "",
            "report": "",
            "simulated": False,
            "quality": "unknown",
            "age": _ages(rows["age_at_ecg"]),
            "sex": [_SEXES.get(word.strip().lower(), "") for word in rows["sex"]],
        }
        for name in _FURTHER:
            if name in rows.columns:
                columns[name] = rows[name] if name in _WORDS else _number(rows, name)
        columns["septum_mm"], columns["posterior_wall_mm"] = septum_mm, posterior_mm
        columns["label_lvef_pct"] = lvef_pct
        columns["label_wall_mm"] = thickest.where(both_known)
        columns[f"label_lvef_lt{self.lvef_below_pct:g}"] = (
            (lvef_pct < self.lvef_below_pct).astype(float).where(lvef_pct.notna())
        )
        # One thick wall decides; that none is thick needs both.
        columns["label_slvh"] = slvh.where(both_known | (slvh == 1.0))
        for flag, looked_at in FLAGS.items():
            # Published flags are 0 both for "not found" and for "not looked at".
            value = _flag(rows, flag)
            there = [name for name in looked_at if name in rows.columns]
            if there and self.not_measured == "unknown":
                measured = np.any([_has_value(rows, name) for name in there], axis=0)
                value = value.where(measured | (value == 1.0))
            columns[f"label_{flag.removesuffix('_flag')}"] = value
        columns[f"label_{COMPOSITE.removesuffix('_flag')}"] = _flag(rows, COMPOSITE)
        return pd.DataFrame(columns, index=rows.index)

    def _mv_per_unit(self, array: npt.NDArray[np.floating]) -> tuple[float, ...]:
        if self.amplitudes == "published":
            return (1.0,) * len(LEADS)
        # Evenly spread over the file, so that the scale depends on nothing but the data.
        rows = np.unique(np.linspace(0, len(array) - 1, _N_SAMPLED).round().astype(int))
        sample = np.asarray(array[rows], dtype=np.float64)
        sample[~np.isfinite(sample)] = np.nan
        sd = np.nanstd(sample, axis=(0, 1, 2))
        if not (np.isfinite(sd) & (sd > 0)).all():
            flat = [lead for lead, value in zip(LEADS, sd, strict=True) if not value > 0]
            raise DataSetError(
                f"The waveforms hold nothing in {', '.join(flat)}. Use the published arrays."
            )
        return tuple(float(mv / own) for mv, own in zip(PTBXL_SD_MV, sd, strict=True))

    def _card(self, metadata: pd.DataFrame, scale: tuple[float, ...]) -> dict[str, Any]:
        # 1.1.1 added this column.
        newer = "most_recent_ecg" in metadata.columns
        valued = [flag for flag, names in FLAGS.items() if names[0] in metadata.columns]
        if self.not_measured == "negative" or not valued:
            zero = "a flag of 0 may mean that nothing was measured"
        else:
            zero = "a flag of 0 without a measurement is unknown"
        return {
            "version": "1.1.1" if newer else "1.1.0",
            "licence": "PhysioNet Restricted Health Data License; not to be passed on",
            "amplitudes": self.amplitudes,
            "mv_per_unit": dict(zip(LEADS, (round(value, 6) for value in scale), strict=True)),
            "thresholds": {
                "lvef_below_pct": self.lvef_below_pct,
                "slvh_wall_mm_from": self.slvh_wall_mm,
            },
            "notes": [
                "Amplitudes are no measured mV: "
                + (
                    "published numbers, each lead brought to its standard deviation in PTB-XL."
                    if self.amplitudes == "ptbxl"
                    else "numbers as published."
                ),
                f"Labels: {zero}; {len(valued)} of {len(FLAGS)} flags have their measurement in "
                "the table.",
                "No diameter of the left ventricle is published, so there is no label_dlv.",
            ],
        }


def _read_metadata(root: Path) -> pd.DataFrame:
    """The table as text, blanks as empty strings."""
    import pandas as pd

    # The README spells the name with capitals, the file does not.
    paths = [p for p in sorted(root.iterdir()) if p.name.lower() == METADATA and p.is_file()]
    if not paths:
        raise DataSetError(
            f"There is no {METADATA} in {root.name or root}. Name the folder of EchoNext 1.1 as it "
            "is published."
        )
    try:
        table = pd.read_csv(paths[0], dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, OSError) as error:
        raise DataSetError(f"{METADATA} cannot be read as a table; download it again.") from error
    table.columns = [str(name).strip() for name in table.columns]
    missing = [name for name in _NEEDED if name not in table.columns]
    if missing:
        raise DataSetError(
            f"{METADATA} lacks the columns {', '.join(missing)}. Use the published file."
        )
    doubled = table["ecg_key"][table["ecg_key"].duplicated()]
    if len(doubled):
        raise DataSetError(f"{METADATA} lists ECG {doubled.iloc[0]} twice. Use the published file.")
    return table


def _waveforms(path: Path) -> npt.NDArray[np.floating]:
    """A split's array, memory-mapped; refused unless it is (n, 1, 2500, 12) of real numbers."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataSetError(
            f"{path.name} is not an array of numbers, or it is cut short. Download it again."
        ) from error
    shape = getattr(array, "shape", ())
    if shape[1:] != (1, N_TIMES, len(LEADS)) or array.dtype.kind != "f":
        raise DataSetError(
            f"{path.name} holds {array.dtype} of shape {shape}; EchoNext publishes numbers with a "
            f"point of shape (n, 1, {N_TIMES}, {len(LEADS)})."
        )
    waveforms: npt.NDArray[np.floating] = array
    return waveforms


def _check_patients(table: pd.DataFrame) -> None:
    n_splits = table.groupby("patient_id")["split"].nunique()
    if (n_splits > 1).any():
        raise DataSetError(
            f"{int((n_splits > 1).sum())} patients of {METADATA} stand in more than one split, for "
            f"example {n_splits.idxmax()}. Use the published file."
        )


def _number(
    rows: pd.DataFrame, name: str, low: float = -math.inf, high: float = math.inf
) -> pd.Series[float]:
    """A column as numbers, NaN where it is blank, no number, or one that cannot be."""
    import pandas as pd

    if name not in rows.columns:
        return pd.Series(np.nan, index=rows.index)
    value = pd.to_numeric(rows[name], errors="coerce").astype(np.float64)
    return value.where((value >= low) & (value <= high))


def _has_value(rows: pd.DataFrame, name: str) -> npt.NDArray[np.bool_]:
    """Whether a measurement has a value; of a grade, "none" is one."""
    if name in _GRADED:
        return ~rows[name].str.strip().str.lower().isin(_BLANK).to_numpy(dtype=np.bool_)
    return _number(rows, name).notna().to_numpy(dtype=np.bool_)


def _flag(rows: pd.DataFrame, name: str) -> pd.Series[float]:
    import pandas as pd

    # Releases write 1, 1.0 or True.
    words = rows[name].str.strip().str.lower().replace({"true": "1", "false": "0"})
    value = pd.to_numeric(words, errors="coerce").astype(np.float64)
    return value.where(value.isin((0.0, 1.0)))


def _ages(cells: pd.Series[str]) -> pd.Series[float]:
    import pandas as pd

    text = cells.str.strip()
    value = pd.to_numeric(text.str.lstrip(">").str.rstrip("+"), errors="coerce")
    # ">89" and "90+" both mean the oldest group.
    older = text.str.startswith(">") | text.str.endswith("+")
    return value.where(~older, _OLDEST).astype(np.float64)
