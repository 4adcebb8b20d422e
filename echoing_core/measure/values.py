"""One measurement with its unit and its spread over beats, or why there is none; QTc; criteria."""

from __future__ import annotations

import math
from dataclasses import dataclass

MEN_CORNELL_MV, WOMEN_CORNELL_MV, SOKOLOW_MV = 2.8, 2.0, 3.5
MALE, FEMALE = "male", "female"
SEXES = (MALE, FEMALE)


@dataclass(frozen=True)
class Measurement:
    """One figure of an ECG, or why there is none.

    Attributes
    ----------
    name : str
        Ends in the unit; those that devices state, too, are called as in
        `io.annotations.MEASUREMENTS`.
    words : str
        For people.
    value : float or None
        None where it is not measurable.
    unit : str
        ``"ms"``, ``"mV"``, ``"°"`` or ``"bpm"``.
    spread : float or None
        Standard deviation over beats, in the same unit; None where single beats do not tell.
    n_beats : int
        That the spread is over.
    why : str
        Where there is no value, the reason; else what to know of it, mostly nothing.
    lead : str
        Empty of the heart as a whole.
    met : bool or None
        Of a criterion, whether it is met; None of other measurements, and where it depends on what
        is not known.
    by_hand : bool
        Whether it follows from a mark that a person set; ``why`` says which.
    """

    name: str
    words: str
    value: float | None
    unit: str
    spread: float | None = None
    n_beats: int = 0
    why: str = ""
    lead: str = ""
    met: bool | None = None
    by_hand: bool = False

    def __post_init__(self) -> None:
        if self.value is None and not self.why:
            raise ValueError(f"{self.name} has neither a value nor a reason")
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError(f"{self.name} is {self.value}: tell why it is not measurable")

    @property
    def standard_error(self) -> float | None:
        """Of the value as a median over ``n_beats`` beats; None where the spread is not known."""
        if self.spread is None or self.n_beats < 2:
            return None
        # The median of a normal sample varies 1.25 times as much as its mean.
        return 1.25 * self.spread / math.sqrt(self.n_beats)


def qtc_bazett_ms(qt_ms: float, rr_ms: float) -> float:
    """QT / RR^(1/2), RR in seconds.

    Parameters
    ----------
    qt_ms, rr_ms : float

    References
    ----------
    Bazett, Heart 1920;7:353.
    """
    return qt_ms / math.sqrt(rr_ms / 1000.0)


def qtc_fridericia_ms(qt_ms: float, rr_ms: float) -> float:
    """QT / RR^(1/3), RR in seconds.

    Parameters
    ----------
    qt_ms, rr_ms : float

    References
    ----------
    Fridericia, Acta Med Scand 1920;53:469.
    """
    return qt_ms / math.pow(rr_ms / 1000.0, 1.0 / 3.0)


def qtc_framingham_ms(qt_ms: float, rr_ms: float) -> float:
    """QT + 154 ms (1 - RR), RR in seconds.

    Parameters
    ----------
    qt_ms, rr_ms : float

    References
    ----------
    Sagie et al., Am J Cardiol 1992;70:797.
    """
    return qt_ms + 154.0 * (1.0 - rr_ms / 1000.0)


def qtc_hodges_ms(qt_ms: float, rr_ms: float) -> float:
    """QT + 1.75 ms (rate - 60), rate a minute.

    Parameters
    ----------
    qt_ms, rr_ms : float

    References
    ----------
    Hodges et al., J Am Coll Cardiol 1983;1:694.
    """
    return qt_ms + 1.75 * (60_000.0 / rr_ms - 60.0)


QTC = {
    "bazett": ("QTc, Bazett", qtc_bazett_ms),
    "fridericia": ("QTc, Fridericia", qtc_fridericia_ms),
    "framingham": ("QTc, Framingham", qtc_framingham_ms),
    "hodges": ("QTc, Hodges", qtc_hodges_ms),
}
"""Name -> its words and its formula of (QT in ms, RR in ms)."""


def sokolow_lyon_met(voltage_mv: float) -> bool:
    """S in V1 + R in V5 or V6, whichever is larger, of 3.5 mV or more.

    Parameters
    ----------
    voltage_mv : float
        The sum.

    References
    ----------
    Sokolow & Lyon, Am Heart J 1949;37:161.
    """
    return voltage_mv >= SOKOLOW_MV


def cornell_met(voltage_mv: float, sex: str | None) -> bool | None:
    """R in aVL + S in V3 above 2.8 mV in men, 2.0 mV in women.

    Parameters
    ----------
    voltage_mv : float
        The sum.
    sex : {"male", "female"} or None

    Returns
    -------
    bool or None
        None where the sex is not known and decides.

    References
    ----------
    Casale et al., Circulation 1987;75:565.
    """
    men, women = voltage_mv > MEN_CORNELL_MV, voltage_mv > WOMEN_CORNELL_MV
    if men == women:
        return men
    return men if sex == MALE else women if sex == FEMALE else None
