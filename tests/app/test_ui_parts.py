"""Parts of the app that need no page: escaping, words, and the choice of windows."""

from __future__ import annotations

import numpy as np
import pytest

from echoing_core import services
from echoing_core.records import GaussianEmbedding, WindowTrack
from ui import frame
from ui.retrieve.neighbours import report_words


def make_track(uncertainty: list[float], stride_s: float, valid: list[float]) -> WindowTrack:
    values = np.asarray(uncertainty, dtype=np.float64)
    flat = np.zeros((len(values), 4), dtype=np.float32)
    return WindowTrack(
        start_s=np.arange(len(values)) * stride_s,
        embedding=GaussianEmbedding(flat, flat),
        uncertainty=values,
        percentile=np.clip(100 * values, 0, 100),
        valid_fraction=np.repeat(np.asarray(valid)[:, None], 12, axis=1),
        by_lead=np.repeat(values[:, None] / 12, 12, axis=1).astype(np.float32),
        novelty=np.full(len(values), 0.5, dtype=np.float32),
        window_s=10.0,
        stride_s=stride_s,
    )


def test_the_listed_windows_do_not_overlap_and_hold_signal() -> None:
    uncertainty = [0.5, 0.9, 0.91, 0.92, 0.2, 0.1, 0.3, 0.99, 0.4, 0.6]
    valid = [1.0] * 7 + [0.0] + [1.0] * 2
    track = make_track(uncertainty, 5.0, valid)
    least = services.extreme_windows(track, 3, surest=False)
    assert least == [3, 1, 9]  # 7 holds no signal, 2 overlaps 3
    most = services.extreme_windows(track, 3, surest=True)
    assert most[0] == 5 and 4 not in most and 6 not in most
    for chosen in (least, most):
        starts = np.sort(track.start_s[chosen])
        assert (np.diff(starts) >= 10.0).all()


def test_text_of_a_person_is_shown_as_it_is() -> None:
    assert frame.literal("<b>*x*</b>") == r"\<b\>\*x\*\<\/b\>"
    assert frame.literal(":red[a] $x$") == r"\:red\[a\] \$x\$"
    assert frame.literal("two\n\n# lines") == r"two \# lines"
    assert frame.literal("ventrículo 40 %") == r"ventrículo 40 \%"


@pytest.mark.parametrize(
    ("percentile", "words"),
    [(3.0, "surer"), (50.0, "as sure as usual"), (80.0, "less sure"), (96.0, "with care")],
)
def test_a_percentile_in_words(percentile: float, words: str) -> None:
    assert words in services.percentile_words(percentile)


def test_long_recordings_get_a_wider_stride_by_default() -> None:
    assert services.fitting_stride_s(1805.6) == 1.0
    assert services.fitting_stride_s(86_400.0) == 10.0


def test_no_probability_is_told_as_certain() -> None:
    told = [services.percent_words(p) for p in (0.0, 0.004, 0.31, 0.985, 0.999)]
    assert told == ["< 1 %", "< 1 %", "31 %", "98 %", "> 99 %"]
    assert services.interval_words(0.12, 0.58) == "12–58 %"
    assert services.interval_words(0.041, 0.044) == "4.1–4.4 %"
    assert services.interval_words(0.001, 0.002) == "< 1 %"
    assert services.interval_words(0.995, 0.999) == "> 99 %"


def test_what_matched_in_a_report_is_bold_and_nothing_of_it_is_markup() -> None:
    report = "Sinus rhythm. Atrial fibrillation *ended* <b>then</b>."
    shown = report_words(report, "report “atrial fibrillation”")
    assert "**Atrial fibrillation**" in shown and shown.startswith("Sinus rhythm\\. **")
    assert "\\*ended\\*" in shown and "<b>" not in shown.replace("\\<b\\>", "")
    # Quoted from elsewhere, it is told after the report; without a reason there is the report.
    assert ":blue[Why:]" in report_words(report, "label “AF”")
    assert report_words("", "") == "_no report_"
