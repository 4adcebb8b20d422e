"""The state of a simulated heart: what an echocardiogram would measure, and what an ECG shows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class HeartState:
    """One heart at the time of one ECG.

    The first five fields are the hidden truth that an echocardiogram measures; everything after
    them is what the ECG is drawn from.

    Attributes
    ----------
    age_years : float
    sex : str
        ``"m"`` or ``"f"``.
    lvef_pct, wall_mm, lvedd_mm : float
        Ejection fraction, thickest wall, end-diastolic diameter of the left ventricle.
    rhythm : str
        ``"sinus"``, ``"af"``, ``"flutter"``, ``"svt"`` or ``"paced"``.
    paced_atrium : str
        Under ventricular pacing: ``"sinus"`` (P waves trigger it) or ``"af"``. Else empty.
    heart_rate_bpm : float
        Mean ventricular rate.
    hrv : float
        SD of the RR intervals over their mean, without ectopy.
    conduction : str
        ``"normal"``, ``"lbbb"``, ``"rbbb"``, ``"irbbb"``, ``"ivcd"`` or ``"wpw"``.
    fascicle : str
        ``""``, ``"lafb"`` or ``"lpfb"``.
    pr_ms, qrs_ms, qt_ms : float
        PR has no meaning in AF, flutter and SVT.
    axis_deg : float
        Intended frontal QRS axis, 0 to the left and 90 downwards.
    infarct : str
        One of `sampling.INFARCT_SITES`, or empty.
    infarct_size : float
        0 to 1.
    st_t : str
        ``""``, ``"strain"``, ``"ischemia"``, ``"injury"``, ``"digitalis"``, ``"nonspecific"``.
    st_t_area : str
        ``"anterior"``, ``"lateral"`` or ``"inferior"`` for ischemia and injury, else empty.
    st_t_size : float
        0 to 1.
    t_gain : float
        Factor on the normal T wave.
    t_turn_deg : float
        Turn of the T vector away from the QRS vector, beyond the normal angle.
    voltage : float
        Factor on all QRS amplitudes.
    anterior_loss : float
        0 (normal R progression) to 1 (no anterior forces).
    hypertrophy : float
        Visible left ventricular hypertrophy; about 0 when normal, 3 when marked.
    rvh, lae, rae : bool
        Right ventricular hypertrophy; left and right atrial enlargement.
    p_terminal : float
        Factor on the late, left-atrial part of the P wave.
    notching : float
        0 to 1, notches inside the QRS complex.
    pvc_per_min, pac_per_min : float
        Rates of premature beats.
    bigeminy : bool
        Every second beat is a PVC.
    """

    # The truth that no wave is drawn from.
    age_years: float
    sex: str
    lvef_pct: float
    wall_mm: float
    lvedd_mm: float
    # Rhythm and conduction.
    rhythm: str
    paced_atrium: str
    heart_rate_bpm: float
    hrv: float
    conduction: str
    fascicle: str
    pr_ms: float
    qrs_ms: float
    qt_ms: float
    axis_deg: float
    # Muscle and repolarisation.
    infarct: str
    infarct_size: float
    st_t: str
    st_t_area: str
    st_t_size: float
    t_gain: float
    t_turn_deg: float
    voltage: float
    anterior_loss: float
    # Chambers, and beats that do not belong.
    hypertrophy: float
    rvh: bool
    lae: bool
    rae: bool
    p_terminal: float
    notching: float
    pvc_per_min: float
    pac_per_min: float
    bigeminy: bool

    @property
    def qtc_ms(self) -> float:
        """QT corrected for rate by Fridericia's cube root, in ms.

        References
        ----------
        Fridericia, Acta Med Scand 1920;53:469.
        """
        return float(self.qt_ms / (60.0 / self.heart_rate_bpm) ** (1 / 3))

    @property
    def wide_secondary(self) -> bool:
        """True when repolarisation only follows abnormal conduction (LBBB, paced)."""
        return self.conduction == "lbbb" or self.rhythm == "paced"
