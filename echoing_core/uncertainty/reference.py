"""Where an uncertainty lies in the cohort that a checkpoint was measured on.

A raw sum of variances means nothing to a person and differs between checkpoints. So each
checkpoint carries the distribution of its own reference cohort, and screens show percentiles.

`Reference` is of 12-lead ECGs; `LeadReference` is of the same ECGs with only some of their leads,
so that a recording of two leads is compared with its like.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from echoing_core.documents import parse_json
from echoing_core.errors import CheckpointError, ConfigError
from echoing_core.records import LEADS
from echoing_core.signals.lead_sets import ALL_KEY, LeadSet

N_QUANTILES = 1001
"""One quantile for each tenth of a percent, both ends included."""

N_STORED = 201
"""Quantiles of a `LeadReference` in a model folder: every half percent."""

_KEYS = frozenset({"name", "n", "quantiles", "simulated"})
_LEAD_KEYS = frozenset({"name", "n", "simulated", "whole", "measured"})


@dataclass(frozen=True, eq=False)
class Reference:
    """Distribution of the uncertainty in a reference cohort.

    Attributes
    ----------
    quantiles : ndarray, shape (1001,)
        The 0, 0.1, ..., 100 % quantiles of the cohort's uncertainty, ascending.
    name : str
        What the cohort is, for a person: ``"held-out simulated patients and PTB-XL fold 9"``.
    n : int
        Number of windows the quantiles were taken from.
    simulated : bool
        True when every window of the cohort was simulated.
    """

    quantiles: npt.NDArray[np.float64]
    name: str
    n: int
    simulated: bool = False

    def __post_init__(self) -> None:
        if self.quantiles.shape != (N_QUANTILES,):
            raise ValueError(f"expected {N_QUANTILES} quantiles, not {self.quantiles.shape}")
        if not np.isfinite(self.quantiles).all() or (np.diff(self.quantiles) < 0).any():
            raise ValueError("quantiles must be finite and ascending")
        if self.n < 1:
            raise ValueError(f"a reference needs at least one value, not {self.n}")

    @property
    def n_leads(self) -> int:
        """Leads that every window of the cohort has."""
        return len(LEADS)

    @property
    def leads_key(self) -> str:
        """Key of the cohort's lead set."""
        return ALL_KEY

    @classmethod
    def from_values(
        cls, values: npt.NDArray[np.floating], *, name: str, simulated: bool = False
    ) -> Reference:
        """Summarise the uncertainties of a cohort.

        Parameters
        ----------
        values : ndarray, shape (n,)
            One uncertainty per window, all finite.
        name : str
            What the cohort is, for a person.
        simulated : bool
            True when every window was simulated.

        Returns
        -------
        Reference

        Raises
        ------
        ValueError
            There is no value, or one that is not finite.
        """
        values = np.asarray(values, dtype=np.float64).ravel()
        if values.size == 0 or not np.isfinite(values).all():
            raise ValueError("a reference needs at least one value and only finite ones")
        quantiles = np.quantile(values, np.linspace(0.0, 1.0, N_QUANTILES))
        # Interpolating between two equal values can come out one rounding step too low.
        quantiles = np.maximum.accumulate(quantiles)
        return cls(quantiles=quantiles, name=name, n=int(values.size), simulated=simulated)

    def percentile(self, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Share of the cohort, in percent, that is less uncertain than each value.

        Monotone. Below the smallest value of the cohort it is 0, above the largest 100. A
        value that many members of the cohort share gets the middle of their ranks. NaN stays
        NaN: an uncertainty that was not measured has no percentile.

        Parameters
        ----------
        values : array-like, any shape

        Returns
        -------
        ndarray, the same shape, 0..100
        """
        x = np.asarray(values, dtype=np.float64)
        q = self.quantiles
        # In steps of a tenth of a percent: the middle of the quantiles that equal the value, or
        # the place between the two that enclose it.
        first = np.searchsorted(q, x, side="left")
        after = np.searchsorted(q, x, side="right")
        tied = 0.5 * (first + after - 1)
        below = np.clip(first - 1, 0, N_QUANTILES - 2)
        step = q[below + 1] - q[below]
        # Over a step next to nothing the share overflows to infinity and is clipped.
        with np.errstate(invalid="ignore", over="ignore"):
            share = np.where(step > 0, (x - q[below]) / np.where(step > 0, step, 1.0), 0.0)
        # Linear between two quantiles, as NumPy computed them.
        between = below + np.clip(share, 0.0, 1.0)
        rank = np.where(after > first, tied, between)
        rank = np.where(x < q[0], 0.0, np.where(x > q[-1], N_QUANTILES - 1.0, rank))
        return np.asarray(np.where(np.isnan(x), np.nan, rank * (100.0 / (N_QUANTILES - 1))))

    def value_at(self, percentile: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Uncertainty at a percentile of the cohort, the inverse of `percentile`.

        Parameters
        ----------
        percentile : array-like
            0..100; outside that range a ValueError.
        """
        p = np.asarray(percentile, dtype=np.float64)
        if not ((p >= 0) & (p <= 100)).all():
            raise ValueError(f"a percentile lies between 0 and 100, not {p.tolist()}")
        return np.asarray(np.interp(p, np.linspace(0.0, 100.0, N_QUANTILES), self.quantiles))

    def to_dict(self) -> dict[str, Any]:
        """A dictionary that JSON can hold."""
        return {
            "name": self.name,
            "n": self.n,
            "simulated": self.simulated,
            "quantiles": [float(q) for q in self.quantiles],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Reference:
        """Read what `to_dict` wrote.

        Parameters
        ----------
        values : mapping
            With exactly the keys ``name``, ``n``, ``quantiles`` and ``simulated``.

        Returns
        -------
        Reference

        Raises
        ------
        CheckpointError
            If keys are missing or unknown, or the quantiles are not what they should be.
        """
        if set(values) != _KEYS:
            raise CheckpointError(
                f"The uncertainty reference has the keys {sorted(values)}, and needs exactly "
                f"{sorted(_KEYS)}. Build the model folder again or take an undamaged copy."
            )
        # Exact types: True is an int to Python, and no count.
        kinds = {"name": str, "n": int, "simulated": bool, "quantiles": list}
        for key, kind in kinds.items():
            if type(values[key]) is not kind:
                raise CheckpointError(
                    f"The uncertainty reference holds a {type(values[key]).__name__} as {key!r}, "
                    f"where a {kind.__name__} is needed. Take an undamaged copy of the model."
                )
        try:
            quantiles = np.asarray(values["quantiles"], dtype=np.float64)
            return cls(
                quantiles=quantiles,
                name=values["name"],
                n=values["n"],
                simulated=values["simulated"],
            )
        except (TypeError, ValueError) as error:
            raise CheckpointError(
                f"The uncertainty reference cannot be used: {error}. "
                "Take an undamaged copy of the model."
            ) from error

    def to_json(self) -> str:
        """The text of a ``reference.json``."""
        return json.dumps(self.to_dict(), indent=1)

    @classmethod
    def from_json(cls, text: str) -> Reference:
        """Read the text of a ``reference.json``.

        Raises
        ------
        CheckpointError
            It is not the text of one.
        """
        try:
            values = parse_json(text.encode())
        except ValueError as error:
            raise CheckpointError(
                f"The uncertainty reference is not JSON ({error}). "
                "Take an undamaged copy of the model."
            ) from error
        if not isinstance(values, dict):
            raise CheckpointError(
                "The uncertainty reference is not a JSON object. "
                "Take an undamaged copy of the model."
            )
        return cls.from_dict(values)


@dataclass(frozen=True, eq=False)
class LeadReference(Reference):
    """Distribution of the uncertainty in a reference cohort that has only some leads.

    Attributes
    ----------
    lead_set : LeadSet
        What the cohort was reduced to.
    by_leads : ndarray, shape (1001,), or None
        Quantiles, as in ``quantiles``, of the part of the uncertainty that the leads of the set
        give, without what the missing ones cost. None where sigma^2 has no terms by lead.
    """

    lead_set: LeadSet = field(kw_only=True)
    by_leads: npt.NDArray[np.float64] | None = field(default=None, kw_only=True)

    @property
    def n_leads(self) -> int:
        return int(self.lead_set.present.sum())

    @property
    def leads_key(self) -> str:
        return self.lead_set.key

    @classmethod
    def of_leads(
        cls,
        lead_set: LeadSet,
        uncertainty: npt.NDArray[np.floating],
        by_lead: npt.NDArray[np.floating] | None,
        *,
        name: str,
        simulated: bool,
    ) -> LeadReference:
        """Summarise a cohort that was reduced to a lead set.

        Parameters
        ----------
        lead_set : LeadSet
        uncertainty : ndarray, shape (n,)
            One sum of sigma^2 per window, all finite.
        by_lead : ndarray, shape (n, 12), or None
            Its terms by lead.
        name : str
            What the cohort is, for a person, without the leads.
        simulated : bool
            True when every window was simulated.

        Returns
        -------
        LeadReference

        Raises
        ------
        ValueError
            There is no value, or one that is not finite.
        """
        whole = Reference.from_values(uncertainty, name=name)
        part = None
        if by_lead is not None:
            terms = by_lead[:, lead_set.present].sum(axis=1, dtype=np.float64)
            part = Reference.from_values(terms, name=name).quantiles
        return cls(whole.quantiles, name, whole.n, simulated, lead_set=lead_set, by_leads=part)

    def percentile_of_leads(self, terms: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Percentile of the part that the leads of the set give together.

        Parameters
        ----------
        terms : array-like, any shape
            Sums over the leads of the set.

        Returns
        -------
        ndarray, the same shape, 0..100

        Raises
        ------
        ValueError
            The model has no terms by lead.
        """
        if self.by_leads is None:
            raise ValueError("sigma^2 of this model has no terms by lead")
        return Reference(self.by_leads, self.name, self.n).percentile(terms)

    def percentile_if_all(
        self, sums: npt.ArrayLike, given: npt.ArrayLike, whole: npt.ArrayLike
    ) -> npt.NDArray[np.float64]:
        """Percentile of a window, had its leads given another sum than they did.

        What missing leads cost rises with the noise in the others. How far is taken from the
        cohort: by how much its uncertainty differs between the ranks of the two sums.

        Parameters
        ----------
        sums : array-like
            What the leads of the set would give together.
        given : array-like
            What they did give.
        whole : array-like
            The window's uncertainty.

        Returns
        -------
        ndarray, 0..100
            That of ``whole`` itself where ``sums`` is what was given.

        Raises
        ------
        ValueError
            The model has no terms by lead.
        """
        usual, here = (self.value_at(self.percentile_of_leads(x)) for x in (sums, given))
        # A cohort may begin at no uncertainty at all; what is divided by has to be some.
        least = np.finfo(np.float64).tiny
        return self.percentile(
            np.asarray(whole, dtype=np.float64) * usual / np.maximum(here, least)
        )

    def to_stored(self) -> dict[str, Any]:
        """A small dictionary that JSON can hold: 201 quantiles of four digits."""
        return {
            "name": self.name,
            "n": self.n,
            "simulated": self.simulated,
            "whole": _thinned(self.quantiles),
            "measured": None if self.by_leads is None else _thinned(self.by_leads),
        }

    @classmethod
    def from_stored(cls, key: str, values: Mapping[str, Any]) -> LeadReference:
        """Read what `to_stored` wrote.

        Parameters
        ----------
        key : str
            Of the lead set.
        values : mapping

        Returns
        -------
        LeadReference

        Raises
        ------
        CheckpointError
            It is not what it should be.
        """
        try:
            if set(values) != _LEAD_KEYS or type(values["simulated"]) is not bool:
                raise ValueError("its entries are others than they should be")
            part = values["measured"]
            return cls(
                _filled(values["whole"]),
                str(values["name"]),
                int(values["n"]),
                values["simulated"],
                lead_set=LeadSet.from_key(key),
                by_leads=None if part is None else _filled(part),
            )
        except (TypeError, ValueError, ConfigError) as error:
            raise CheckpointError(
                f"The uncertainty reference of the leads {key!r} cannot be used: {error}. "
                "Measure it again, or take an undamaged copy of the model."
            ) from error


def stored_references(references: Mapping[str, LeadReference]) -> dict[str, Any]:
    """The document that a model folder keeps under ``lead_references``.

    Parameters
    ----------
    references : mapping
        By the keys of their lead sets.

    Returns
    -------
    dict
    """
    return {"leads": {key: reference.to_stored() for key, reference in references.items()}}


def read_references(document: Mapping[str, Any]) -> dict[str, LeadReference]:
    """Read what `stored_references` wrote.

    Parameters
    ----------
    document : mapping

    Returns
    -------
    dict of str to LeadReference

    Raises
    ------
    CheckpointError
        It is not what it should be.
    """
    leads = document.get("leads")
    if not isinstance(leads, Mapping) or not all(isinstance(v, Mapping) for v in leads.values()):
        raise CheckpointError(
            "The uncertainty references by leads are not what they should be. Measure them again, "
            "or take an undamaged copy of the model."
        )
    return {key: LeadReference.from_stored(key, values) for key, values in leads.items()}


def _thinned(quantiles: npt.NDArray[np.float64]) -> list[float]:
    step = (N_QUANTILES - 1) // (N_STORED - 1)
    return [float(f"{q:.4g}") for q in quantiles[::step]]


def _filled(stored: Any) -> npt.NDArray[np.float64]:
    """All quantiles, linear between those that are kept."""
    values = np.asarray(stored, dtype=np.float64)
    if values.shape != (N_STORED,):
        raise ValueError(f"{N_STORED} quantiles are needed, not {values.shape}")
    full = np.interp(np.linspace(0.0, 1.0, N_QUANTILES), np.linspace(0.0, 1.0, N_STORED), values)
    # Interpolating between two equal values can come out one rounding step too low.
    return np.maximum.accumulate(full)
