"""ECGs as rows of numbers for scikit-learn: ``EchoingFeatures().transform(recordings)``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin

from echoing_core.errors import ConfigError, MissingLeadError, SamplingRateError
from echoing_core.io import canonical_lead_name, read_recording
from echoing_core.io.channels import Channel, Findings, recording_from
from echoing_core.records import (
    LEADS,
    STANDARD_FS_HZ,
    WINDOW_S,
    GaussianEmbedding,
    Recording,
    StandardEcg,
)
from echoing_core.services.explaining import as_standard_ecg
from echoing_core.services.models import Model, load_model, recording_source
from echoing_core.signals.leads import DEFAULT_VCG_METHOD
from echoing_core.signals.windows import WINDOW_N, cut_windows, window_starts
from echoing_core.uncertainty.fusion import fuse

MU, MU_AND_SIGMA2 = "mu", "mu_and_sigma2"

_WINDOWS_AT_ONCE = 128
"""12 MB of signals and masks."""

AnyRecording = str | os.PathLike[str] | Recording | StandardEcg | npt.NDArray[np.floating[Any]]
Floats = npt.NDArray[np.float32]


class EchoingFeatures(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """ECGs to their Gaussians, as a transformer of scikit-learn; nothing is fitted.

    A recording is cut into windows of 10 s that do not overlap and are fused into one Gaussian
    (`uncertainty.fusion`), so that a recording of any length is one row. One of 10 s is its only
    window.

    Parameters
    ----------
    model : path, str or Model, optional
        As `load_model` takes it; the shipped demo model without it.
    what : {"mu", "mu_and_sigma2"}
        ``"mu"``: the unit mean, one column a dimension. ``"mu_and_sigma2"``: then sigma^2 of every
        dimension beside it.
    fs_hz : float, optional
        Sampling rate of recordings that are given as arrays; files and `Recording` know theirs.
    leads : sequence of str, optional
        Leads of such arrays, in the order of their rows; the usual twelve without it.

    Examples
    --------
    >>> pipeline = make_pipeline(EchoingFeatures(), LogisticRegression())  # doctest: +SKIP
    >>> pipeline.fit(paths, has_lbbb)  # doctest: +SKIP
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Model | None = None,
        what: str = MU,
        *,
        fs_hz: float | None = None,
        leads: Sequence[str] | None = None,
    ) -> None:
        # As given: scikit-learn clones an estimator by its parameters.
        self.model = model
        self.what = what
        self.fs_hz = fs_hz
        self.leads = leads

    def fit(self, recordings: Any = None, y: Any = None) -> EchoingFeatures:
        """Do nothing, and check the parameters.

        Parameters
        ----------
        recordings, y
            Not looked at.

        Returns
        -------
        EchoingFeatures
            Itself.

        Raises
        ------
        ConfigError
            ``what`` is unknown.
        """
        if self.what not in (MU, MU_AND_SIGMA2):
            raise ConfigError(
                f"There are no features {self.what!r}. Choose {MU} or {MU_AND_SIGMA2}."
            )
        return self

    def transform(self, recordings: Iterable[AnyRecording]) -> Floats:
        """Embed recordings.

        Parameters
        ----------
        recordings : iterable of path, Recording, StandardEcg or array
            Paths as `read_recording` takes them, or names of shipped recordings. An array has
            shape (n_leads, n_times), in millivolts, NaN where nothing was measured; an array of
            shape (n, n_leads, n_times) is n of them.

        Returns
        -------
        ndarray, shape (n, dim) or (n, 2 dim), float32

        Raises
        ------
        RecordError
            A recording cannot be read, is shorter than 10 s, or lacks leads.
        ConfigError
            ``what`` is unknown, or an array comes without ``fs_hz`` or does not fit ``leads``.
        CheckpointError
            The model cannot be opened.
        """
        self.fit()
        model = self._opened()
        if isinstance(recordings, str | os.PathLike | Recording | StandardEcg):
            raise ConfigError("Give a list of recordings, also where it is only one.")
        rows = [
            np.concatenate([one.mu[0], np.exp(one.log_var[0])])
            if self.what == MU_AND_SIGMA2
            else one.mu[0]
            for one in self._embedded(recordings, model)
        ]
        n_columns = len(self.get_feature_names_out())
        return np.stack(rows) if rows else np.zeros((0, n_columns), dtype=np.float32)

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Names of the columns: ``mu_0`` and on, then ``sigma2_0`` and on.

        Parameters
        ----------
        input_features
            Not looked at.

        Returns
        -------
        ndarray of str
        """
        dim = self._opened().checkpoint.encoder.config.dim
        kinds = ("mu", "sigma2") if self.what == MU_AND_SIGMA2 else ("mu",)
        return np.array([f"{kind}_{i}" for kind in kinds for i in range(dim)], dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.two_d_array = False
        return tags

    def __getstate__(self) -> dict[str, Any]:
        # An opened model is opened again where it is wanted: other processes need not be sent it.
        return {k: v for k, v in super().__getstate__().items() if k != "_model"}

    def _opened(self) -> Model:
        if isinstance(self.model, Model):
            return self.model
        # A model of another name may have been set since.
        known: tuple[Any, Model] | None = getattr(self, "_model", None)
        if known is None or known[0] != self.model:
            known = (self.model, load_model(self.model))
            self._model = known
        return known[1]

    def _embedded(
        self, recordings: Iterable[AnyRecording], model: Model
    ) -> Iterator[GaussianEmbedding]:
        """One Gaussian a recording; windows of several go through the encoder together."""
        waiting: list[tuple[Floats, npt.NDArray[np.bool_]]] = []
        for number, recording in enumerate(recordings):
            ecg = as_standard_ecg(self._read(recording, number), DEFAULT_VCG_METHOD, model)
            starts = window_starts(ecg.n_times, stride_n=WINDOW_N)
            if len(starts) >= _WINDOWS_AT_ONCE:
                # Hours: cut as they are needed, since all windows at once would be much memory.
                yield from _flushed(waiting, model)
                waiting = []
                yield _of_long(ecg, starts, model)
                continue
            waiting.append(cut_windows(ecg, starts))
            if sum(len(signal) for signal, _ in waiting) >= _WINDOWS_AT_ONCE:
                yield from _flushed(waiting, model)
                waiting = []
        yield from _flushed(waiting, model)

    def _read(self, recording: AnyRecording, number: int) -> Recording | StandardEcg:
        if isinstance(recording, Recording | StandardEcg):
            return recording
        if isinstance(recording, str | os.PathLike):
            return read_recording(recording_source([recording]))
        return self._from_array(np.asarray(recording), number)

    def _from_array(self, signal_mv: npt.NDArray[Any], number: int) -> Recording:
        if self.fs_hz is None:
            raise SamplingRateError(
                "An array does not say its sampling rate. Name it: EchoingFeatures(fs_hz=500)."
            )
        leads = tuple(LEADS if self.leads is None else self.leads)
        if signal_mv.ndim != 2 or len(signal_mv) != len(leads):
            raise MissingLeadError(
                f"Recording {number} has shape {signal_mv.shape}; its {len(leads)} leads are to be "
                "rows. Name other leads: EchoingFeatures(leads=['I', 'II'])."
            )
        # A copy: the channels of a recording are changed where a test pattern is found.
        return recording_from(
            [
                Channel(
                    name,
                    canonical_lead_name(name) or name,
                    float(self.fs_hz),
                    np.array(row, dtype=np.float32),
                )
                for name, row in zip(leads, signal_mv, strict=True)
            ],
            f"array {number}",
            "array",
            Findings(),
        )


def _flushed(
    waiting: Sequence[tuple[Floats, npt.NDArray[np.bool_]]], model: Model
) -> Iterator[GaussianEmbedding]:
    from echoing_core.embed.encode import encode_batch

    if not waiting:
        return
    checkpoint = model.checkpoint
    embedding = encode_batch(
        checkpoint.encoder.ecg,
        checkpoint.scaler,
        np.concatenate([signal for signal, _ in waiting]),
        np.concatenate([valid for _, valid in waiting]),
    )
    first = 0
    for signal, _ in waiting:
        yield _fused(embedding[first : first + len(signal)])
        first += len(signal)


def _of_long(ecg: StandardEcg, starts: npt.NDArray[np.int64], model: Model) -> GaussianEmbedding:
    from echoing_core.embed.encode import encode_dense

    checkpoint = model.checkpoint
    return _fused(encode_dense(checkpoint.encoder.ecg, checkpoint.scaler, ecg, starts))


def _fused(windows: GaussianEmbedding) -> GaussianEmbedding:
    start_s = np.arange(len(windows)) * (WINDOW_N / STANDARD_FS_HZ)
    return fuse(windows, start_s, WINDOW_S, "trimmed").embedding
