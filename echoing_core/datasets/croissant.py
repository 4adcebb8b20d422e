"""``croissant.json`` of a prepared set: what it holds, in the words of MLCommons' Croissant 1.0.

It is made of the card and the table, so it says nothing that these do not; a date would make the
same data give other bytes, so it has none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from echoing_core.records import LEADS, STANDARD_FS_HZ

if TYPE_CHECKING:
    import pandas as pd

CROISSANT = "croissant.json"

_LICENCE_PAGES = {
    "CC BY 4.0": "https://creativecommons.org/licenses/by/4.0/",
    "Open Database License 1.0": "https://opendatacommons.org/licenses/odbl/1-0/",
    "Apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
}

_HOMES = {
    "ptbxl": "https://physionet.org/content/ptb-xl/1.0.3/",
    "mimic": "https://physionet.org/content/mimic-iv-ecg/1.0/",
    "cinc": "https://physionet.org/content/challenge-2021/1.0.3/",
    "music": "https://physionet.org/content/music-sudden-cardiac-death/1.0.1/",
    "echonext": "https://physionet.org/content/echonext/1.1.0/",
}
"""Where `docs/datasets.md` says that a data set is downloaded."""

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}

_TYPES = {"b": "sc:Boolean", "f": "sc:Float", "i": "sc:Integer", "u": "sc:Integer"}
_TABLE = "studies.parquet"


def croissant_text(card: Mapping[str, Any], table: pd.DataFrame, sizes: Mapping[str, int]) -> str:
    """The description as JSON-LD, with a line end.

    Parameters
    ----------
    card : mapping
        Of the prepared set, complete.
    table : DataFrame
        Of its studies.
    sizes : mapping of str to int
        Bytes of each file that the card lists.

    Returns
    -------
    str

    References
    ----------
    MLCommons, Croissant Format Specification 1.0 (2024).
    """
    name = str(card.get("data_set", card["source"]))
    licence = str(card.get("licence", _licence_of(card)))
    content: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": f"{name}-prepared",
        "description": _description(card),
        # A page where there is one; otherwise the words themselves, never a wider licence.
        "license": _LICENCE_PAGES.get(licence, licence),
        **({"url": _HOMES[name]} if name in _HOMES else {}),
        **({"version": str(card["version"])} if "version" in card else {}),
        "isLiveDataset": False,
        "keywords": ["ECG", *(["simulated"] if card["simulated"] else [])],
        "rai:dataPreprocessingProtocol": _preprocessing(card),
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": file,
                "name": file,
                "description": _file_words(file, card),
                "contentUrl": file,
                "contentSize": f"{sizes[file]} B",
                "encodingFormat": "application/x-parquet"
                if file == _TABLE
                else "application/octet-stream",
                "sha256": digest,
            }
            for file, digest in card["files"].items()
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "studies",
                "name": "studies",
                "description": "One ECG each; row i belongs to row i of both arrays.",
                "key": {"@id": "studies/record_id"},
                "field": [
                    {
                        "@type": "cr:Field",
                        "@id": f"studies/{column}",
                        "name": column,
                        "description": _column_words(column, card),
                        "dataType": _TYPES.get(table[column].dtype.kind, "sc:Text"),
                        "source": {
                            "fileObject": {"@id": _TABLE},
                            "extract": {"column": column},
                        },
                    }
                    for column in map(str, table.columns)
                ],
            }
        ],
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _licence_of(card: Mapping[str, Any]) -> str:
    # What this program simulates is under its own licence; of anything else it knows nothing.
    only_simulated = card["simulated"] and str(card["source"]) == "simulated"
    return "Apache-2.0" if only_simulated else "not stated; that of the recordings' source holds"


def _description(card: Mapping[str, Any]) -> str:
    splits = ", ".join(f"{split['studies']:,} {name}" for name, split in card["splits"].items())
    simulated = " Some or all of the ECGs are simulated." if card["simulated"] else ""
    return (
        f"{card['n_studies']:,} ECGs of {card['n_patients']:,} patients from {card['source']} "
        f"({splits}), 12 leads, {card['n_times'] / STANDARD_FS_HZ:g} s at {STANDARD_FS_HZ:g} Hz, "
        f"prepared by echoing-core.{simulated} Patients are in one split only. A label that is "
        "missing is not known, never a no."
    )


def _preprocessing(card: Mapping[str, Any]) -> str:
    parts = [
        "Leads by name, in millivolts, filtered to 0.5-40 Hz and resampled to "
        f"{STANDARD_FS_HZ:g} Hz; 0 where nothing was measured, which valid.npy says."
    ]
    if options := card.get("options"):
        parts.append("Options: " + ", ".join(f"{k}={v}" for k, v in options.items()) + ".")
    if rule := card.get("split_rule"):
        parts.append(f"Split: {rule}.")
    if left_out := card.get("left_out"):
        told = "; ".join(f"{reason}: {count}" for reason, count in left_out.items())
        parts.append(f"Left out: {told}.")
    return " ".join(parts)


def _file_words(file: str, card: Mapping[str, Any]) -> str:
    shape = f"({card['n_studies']}, {len(LEADS)}, {card['n_times']})"
    return {
        _TABLE: "One row an ECG: who, which split, report and labels.",
        "signal_mv.npy": f"float32 of shape {shape}, millivolts, leads {', '.join(LEADS)}.",
        "valid.npy": f"bool of shape {shape}: which samples were measured.",
    }.get(file, file)


def _column_words(column: str, card: Mapping[str, Any]) -> str:
    counts = card["labels"].get(column.removeprefix("label_")) if column[:6] == "label_" else None
    if counts is None:
        return _COLUMNS.get(column, f"As the source has it: {column}.")
    yes = f", {counts['positive']} of them yes" if "positive" in counts else ""
    return f"Known of {counts['known']} ECGs{yes}; missing where it is not known."


_COLUMNS = {
    "source": "Data set that the ECG is from.",
    "patient_id": "Unique within its source.",
    "study_id": "Of the examination.",
    "record_id": "Of the ECG, unique.",
    "split": "train, valid or test.",
    "report": "Text that belongs to the ECG.",
    "simulated": "Whether the ECG was simulated.",
    "quality": "clean where the recording is known to be free of noise.",
}
