"""ECGs as rows for scikit-learn, equal to what the services say of them one by one."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from tiny_model import write_tiny_model

from echoing_core.errors import ConfigError, MissingLeadError, SamplingRateError
from echoing_core.records import LEADS, Recording
from echoing_core.services import explain, load_model, read_recording, samples
from echoing_core.services.features import EchoingFeatures


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    write_tiny_model(folder)
    return folder


def _ecg(seed: int, seconds: float = 10.0, fs_hz: float = 200.0, hz: float = 1.2) -> Recording:
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * fs_hz)) / fs_hz
    size = rng.uniform(0.2, 0.6, (12, 1))
    signal = size * np.sin(2 * np.pi * hz * t) + 0.01 * rng.standard_normal((12, t.size))
    return Recording(signal.astype(np.float32), fs_hz, LEADS, f"made{seed}")


def test_a_row_is_the_gaussian_of_the_window(model: Path) -> None:
    ecgs = [_ecg(0), _ecg(1)]
    rows = EchoingFeatures(model, "mu_and_sigma2").transform(ecgs)
    assert rows.shape == (2, 24) and rows.dtype == np.float32
    for row, ecg in zip(rows, ecgs, strict=True):
        window = explain(load_model(model), ecg, 10.0).track.embedding
        assert np.allclose(row[:12], window.mu[0], atol=1e-5)
        assert np.allclose(row[12:], np.exp(window.log_var[0]), rtol=1e-3)
    assert np.array_equal(EchoingFeatures(model).transform(ecgs), rows[:, :12])


def test_a_long_recording_is_one_row_however_many_go_together(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long, short = _ecg(2, seconds=45.0), _ecg(3)
    together = EchoingFeatures(model).transform([short, long, short])
    assert np.allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-5)
    assert np.allclose(together[0], together[2], atol=1e-6)
    # One that is cut as it is needed comes to the same.
    monkeypatch.setattr("echoing_core.services.features._WINDOWS_AT_ONCE", 3)
    assert np.allclose(EchoingFeatures(model).transform([short, long, short]), together, atol=1e-5)


def test_paths_arrays_and_records_are_the_same_ecg(model: Path) -> None:
    sample = samples()[0]
    recording = read_recording(list(sample.paths))
    known = EchoingFeatures(model).transform([recording])
    typed = EchoingFeatures(model).transform([sample.sample_id])
    as_array = EchoingFeatures(model, fs_hz=recording.fs_hz, leads=recording.lead_names)
    assert np.array_equal(typed, known)
    assert np.allclose(as_array.transform(recording.signal_mv[None]), known, atol=1e-6)
    assert EchoingFeatures(model).transform([]).shape == (0, 12)


def test_it_is_a_transformer_as_others_are(model: Path) -> None:
    slow, fast = ([_ecg(k, hz=hz) for k in range(6)] for hz in (1.0, 9.0))
    pipeline = make_pipeline(EchoingFeatures(str(model)), LogisticRegression(C=1e3))
    pipeline.fit(slow + fast, [0] * 6 + [1] * 6)
    # Rhythms this far apart are told apart by random weights, too.
    assert list(pipeline.predict([_ecg(50, hz=1.0), _ecg(51, hz=9.0)])) == [0, 1]
    features = pipeline[0]
    copied = clone(features.set_params(what="mu_and_sigma2"))
    assert copied.get_params() == features.get_params()
    assert list(copied.get_feature_names_out()[[0, 11, 12, 23]]) == [
        "mu_0",
        "mu_11",
        "sigma2_0",
        "sigma2_11",
    ]
    assert "_model" not in pickle.loads(pickle.dumps(features)).__dict__
    frame = EchoingFeatures(model).set_output(transform="pandas").transform([_ecg(0)])
    assert list(frame.columns) == [f"mu_{i}" for i in range(12)]


def test_what_cannot_be_read_is_refused_in_words(model: Path) -> None:
    array = np.zeros((3, 2000), dtype=np.float32)
    with pytest.raises(ConfigError, match="mu_and_sigma2"):
        EchoingFeatures(model, "sigma").fit()
    with pytest.raises(SamplingRateError, match="fs_hz=500"):
        EchoingFeatures(model).transform([array])
    with pytest.raises(MissingLeadError, match="12 leads"):
        EchoingFeatures(model, fs_hz=200).transform([array])
    with pytest.raises(ConfigError, match="list"):
        EchoingFeatures(model).transform("SIM_LBBB")
