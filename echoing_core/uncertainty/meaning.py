"""What a model's sigma^2 says, in words: it depends on what taught it."""

from __future__ import annotations

from echoing_core.models.config import ABSENT, DISPLACEMENT, MATCHING, UNTAUGHT

MEANINGS = {
    DISPLACEMENT: (
        "sigma² says how far this model's reading of an ECG may be off because of how the ECG was "
        "recorded: noise, gaps, loose or missing leads. It does not say how ambiguous a finding is."
    ),
    MATCHING: (
        "sigma² says how ambiguous an ECG is to this model: how loosely it fits its report, as "
        "learnt from matching ECGs with reports. It was not taught what noise does, so a noisy "
        "stretch need not stand out."
    ),
    UNTAUGHT: (
        "Nothing taught this model's sigma²: its percentiles say nothing about an ECG, and are "
        "shown only so that models can be compared."
    ),
    ABSENT: (
        "This model has no sigma²: it gives one point for an ECG and no width, so it does not say "
        "where along a recording it can be believed. What stands in its place is one constant, and "
        "every percentile of it is the same."
    ),
}
"""By what sigma^2 was learnt from: one sentence or two for a screen."""

NAMES = {
    DISPLACEMENT: "how the ECG was recorded (displacement)",
    MATCHING: "how ambiguous the ECG is (matching)",
    UNTAUGHT: "nothing (never learnt)",
    ABSENT: "nothing (this model has none)",
}
"""The same in a few words, after "sigma² of"."""

CARD_WORDS = {
    DISPLACEMENT: (
        "The expected squared distance by which this recording's mean lies from where the mean "
        "of the same ECG, well recorded, would lie: half of it for the mean of all leads, half "
        "for the mean of the one lead that suffered most. It was learnt in a second stage on the "
        "frozen space, from simulated noise, device faults, lost leads and gaps. No grade or note "
        "of quality by a person was used, neither as a target nor to choose ECGs or weights. It "
        "is a sum over leads and fifths of a second, so it names the leads and moments it comes "
        "from. It does not measure how ambiguous a finding is. Of a text: how far what is left "
        "of a report lies from the whole report."
    ),
    MATCHING: (
        "The width that the matching loss gave an ECG or a text, learnt jointly with the means "
        "from which reports belong to which ECGs: wide where many would fit. No noise, fault or "
        "grade of quality was its target. It is one figure for a window, and names no leads."
    ),
    UNTAUGHT: "Nothing: the loss knows means alone, and sigma^2 stays near where it began.",
    ABSENT: "None: the model gives a point for an ECG, and one constant stands for sigma^2.",
}
"""The same for a model card."""
