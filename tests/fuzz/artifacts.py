"""Model and index folders whose hashes are right and whose content was changed.

The hashes keep out accidents. Whoever changes a folder on purpose makes them anew, as is done here.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

from tests.fuzz.mutate import Files


def resealed_model(files: Files) -> Files:
    """With every hash of ``manifest.json`` made anew, where there is one that can be read."""
    from echoing_core.models.checkpoint import MODEL_FILES

    try:
        manifest = json.loads(files["manifest.json"])
        digests = {
            name: hashlib.sha256(files[name]).hexdigest()
            for name in manifest["sha256"]
            if name in files
        }
        joined = "\n".join(f"{name} {digests[name]}" for name in MODEL_FILES)
        model_hash = hashlib.sha256(joined.encode()).hexdigest()
        manifest |= {"sha256": digests, "hash": model_hash}
        return {**files, "manifest.json": json.dumps(manifest).encode()}
    except (ValueError, KeyError, TypeError, RecursionError):
        return files


def resealed_index(files: Files) -> Files:
    """With every hash of ``card.json`` made anew, where there is one that can be read."""
    try:
        card = json.loads(files["card.json"])
        card["files"] = {
            name: hashlib.sha256(files[name]).hexdigest() for name in card["files"] if name in files
        }
        return {**files, "card.json": json.dumps(card).encode()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return files


@cache
def _folder() -> Path:
    """In memory where the system has such a place: thousands of folders are written here."""
    memory = Path("/dev/shm")
    return Path(mkdtemp(prefix="echoing-fuzz-", dir=memory if memory.is_dir() else None))


def _read_folder(folder: Path) -> Files:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "README.md"
    }


def _written(files: Files) -> Path:
    folder = _folder() / "given"
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@cache
def models() -> list[Files]:
    """A very small model with documents of the shipped one, cut to a few questions and leads."""
    from tiny_model import write_tiny_model

    from echoing_core.services import assets_folder

    folder = _folder() / "model"
    model_hash = write_tiny_model(folder)
    files = _read_folder(folder)
    shipped = assets_folder() / "models" / "demo"
    calibration = json.loads((shipped / "calibration.json").read_text())
    some = ("12", "I", "limb")
    calibration |= {
        "model_hash": model_hash,
        "questions": calibration["questions"][:2],
        "centres": {key: calibration["centres"][key][:12] for key in some},
    }
    references = json.loads(files["lead_references.json"])
    references["leads"] = dict(list(references["leads"].items())[:3])
    files |= {
        "lead_references.json": json.dumps(references).encode(),
        "calibration.json": json.dumps(calibration).encode(),
        "distances.json": (shipped / "distances.json").read_bytes(),
    }
    manifest = json.loads(files["manifest.json"])
    manifest["sha256"] |= dict.fromkeys(("calibration.json", "distances.json"), "")
    return [resealed_model({**files, "manifest.json": json.dumps(manifest).encode()})]


def opened_model(files: Files) -> None:
    """Loaded as the app loads it, with all that was measured, and one window embedded."""
    from echoing_core.retrieve.scale import ReferenceDistances
    from echoing_core.services.models import load_model

    sealed = resealed_model(files)
    with suppress(ValueError, KeyError, TypeError, RecursionError):
        calibration = json.loads(files["calibration.json"])
        calibration["model_hash"] = json.loads(sealed["manifest.json"])["hash"]
        sealed = resealed_model({**sealed, "calibration.json": json.dumps(calibration).encode()})
    model = load_model(_written(sealed))
    model.reference.percentile(0.05)
    document = model.checkpoint.measured.get("distances")
    if document is not None:
        ReferenceDistances.from_dict(document)
    if sum(map(len, files.values())) % 5 == 0:
        _embedded(model)


def _embedded(model: object) -> None:
    import ecg_files as made

    from echoing_core.io import read_recording
    from echoing_core.services import explain

    recording = read_recording(list(made.wfdb(made.ecg(10.0, 100), 100).items()))
    explain(model, recording)  # type: ignore[arg-type]


@cache
def indexes() -> list[Files]:
    """Nine items of dimension six, with reports and traces as a built index has them."""
    import pandas as pd

    from echoing_core.records import GaussianEmbedding
    from echoing_core.retrieve.index import build_index

    rng = np.random.default_rng(1)
    n, dim = 9, 6

    def side() -> GaussianEmbedding:
        mu = rng.normal(size=(n, dim)).astype(np.float32)
        mu /= np.linalg.norm(mu, axis=1, keepdims=True)
        return GaussianEmbedding(mu, np.full((n, dim), -5.0, np.float32))

    ecg, text = side(), side()
    items = pd.DataFrame(
        {
            "item_id": [f"item{i}" for i in range(n)],
            "patient_id": [f"patient{i // 2}" for i in range(n)],
            "record_id": [f"record{i}" for i in range(n)],
            "report": ["sinus rhythm"] * n,
            "source": "cohort",
            "uncertainty": ecg.uncertainty,
            "percentile": np.linspace(0, 100, n),
            "text_uncertainty": text.uncertainty,
            "simulated": True,
            "label_af": np.arange(n) % 3 == 0,
            "label_lvef_pct": np.linspace(20, 60, n),
        }
    )
    folder = _folder() / "index"
    build_index(
        folder, ecg=ecg, text=text, items=items, checkpoint_hash="c0ffee", card={"name": "a"}
    )
    return [_read_folder(folder)]


def opened_index(files: Files) -> None:
    """Opened as an upload is, and searched."""
    from echoing_core.records import GaussianEmbedding
    from echoing_core.retrieve.index import open_index_files
    from echoing_core.retrieve.search import search_gallery

    index = open_index_files(resealed_index(files), "given", checkpoint_hash="c0ffee")
    mu = np.zeros((1, index.dim), np.float32)
    mu[0, 0] = 1.0
    query = GaussianEmbedding(mu, np.full((1, index.dim), -5.0, np.float32))
    for target in ("ecg", "report"):
        for order in ("csd", "cosine"):
            for hit in search_gallery(index, query, k=3, target=target, order=order):
                repr(hit)
