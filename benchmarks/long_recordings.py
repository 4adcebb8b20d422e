"""Recordings of minutes to a day: ratios of one run, with memory and the machine's limit beside.

    python benchmarks/long_recordings.py [--rounds 5] [--hours 24] [--threads 1]

1. The encoder over 20 minutes with a window every second, and over windows 10 s apart: the pass
   that windows share (`models.window_pass`) beside the modules on windows cut out of one map, in
   batches of 256, and beside the published network (its shape, random weights) window by window,
   of which a few are timed. Rounds take turns, so that what else the machine does meets all of
   them. The limit is this machine's product of two matrices, in the same rounds; a share of it
   counts the multiplications that the modules' layers need.
2. Filter and resampling: in stretches beside SciPy on whole leads.
3. 20 minutes of X, Y, Z at 1000 Hz as bytes, until the data of the map are there, in a process
   that has done it once.
4. A record of so many hours of 12 leads at 500 Hz, made for it: read, filtered and embedded in a
   process of its own, seconds and the largest memory of each (Linux). Then a seventieth, a
   twentieth and a quarter of these hours, too, for the slope of seconds against windows in
   logarithms.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from echoing_core import explain, figures, load_model, read_recording, services
from echoing_core.embed.encode import encode_batch, encode_dense_terms
from echoing_core.io import write_wfdb
from echoing_core.models.config import ModelConfig
from echoing_core.models.ecg_encoder import WINDOW_N, CompactEcgEncoder
from echoing_core.models.encoders import EcgEncoder
from echoing_core.models.released import ReleasedEcgEncoder
from echoing_core.models.variance_head import HOP
from echoing_core.records import LEADS, StandardEcg
from echoing_core.services.explaining import ExplainJob
from echoing_core.signals import cut_windows, long, short, standardise
from echoing_core.signals.filters import KAISER_BETA
from echoing_core.signals.scaling import LeadScaler
from echoing_core.simulate.ecg.long import simulate_long

SEED = 0
N_PUBLISHED = 4
OLD_BATCH, OLD_STRETCH = 256, 1500


def _ecg(seconds: float) -> StandardEcg:
    rng = np.random.default_rng(SEED)
    signal = rng.normal(0, 0.2, (12, round(100 * seconds))).astype(np.float32)
    return StandardEcg(signal, np.ones(signal.shape, np.bool_), ("measured",) * 12, "made")


def by_modules(
    encoder: CompactEcgEncoder, scaler: LeadScaler, ecg: StandardEcg, starts: np.ndarray
) -> np.ndarray:
    """mu and log sigma^2 as the modules give them, from maps of five minutes."""
    found = []
    with torch.inference_mode():
        hops = starts // HOP
        for stretch in np.unique(hops // OLD_STRETCH):
            begin = int(stretch) * OLD_STRETCH * HOP
            end = min(begin + OLD_STRETCH * HOP + WINDOW_N, ecg.n_times)
            scaled = torch.from_numpy(scaler.apply(ecg.signal_mv[None, :, begin:end]))
            maps = encoder.frame_maps(scaled, torch.ones_like(scaled))
            local = torch.from_numpy(hops[hops // OLD_STRETCH == stretch] - begin // HOP)
            for some in torch.split(local, OLD_BATCH):
                windows = maps.unfold(some, encoder.window_frames)
                found.append(
                    torch.cat([encoder.mean_from(windows), encoder.log_var_from(windows)], 1)
                )
    return torch.cat(found).numpy()


def _products(encoder: CompactEcgEncoder, n_times: int, n_windows: int) -> float:
    """Multiplications and additions that layers need: all over frames once, heads by window."""
    counted: list[float] = []

    def count(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
        weight = module.weight
        counted.append(2.0 * out.numel() * weight[0].numel())

    layers = [m for m in encoder.modules() if isinstance(m, torch.nn.Conv1d | torch.nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]  # type: ignore[arg-type]
    with torch.inference_mode():
        x = torch.zeros(1, 12, WINDOW_N)
        maps = encoder.frame_maps(torch.zeros(1, 12, n_times), torch.ones(1, 12, n_times))
        total = sum(counted)
        counted.clear()
        maps = encoder.frame_maps(x, torch.ones_like(x))
        counted.clear()
        encoder.mean_from(maps), encoder.log_var_from(maps)
        total += n_windows * sum(counted)
    for hook in hooks:
        hook.remove()
    return total


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def compare_encoders(rounds: int) -> None:
    """Part 1."""
    model = load_model()
    encoder, scaler = model.checkpoint.encoder.ecg, model.checkpoint.scaler
    assert isinstance(encoder, CompactEcgEncoder)
    settings = ModelConfig(architecture="released", dim=512, log_var_bias=0.0)
    published = ReleasedEcgEncoder(settings.released_ecg, 512, 0.0).eval()
    size = 1024
    matrix = torch.randn(size, size)
    for what, ecg, stride in (
        ("20 min, every second", _ecg(1196.0), 100),
        ("20 min, 10 s apart", _ecg(1196.0), 1000),
    ):
        starts = np.arange(0, ecg.n_times - WINDOW_N + 1, stride)
        signal_mv, valid = cut_windows(ecg, starts[:N_PUBLISHED])
        jobs: dict[str, Callable[[], object]] = {
            "shared pass": lambda e=ecg, s=starts: encode_dense_terms(encoder, scaler, e, s),
            "modules": lambda e=ecg, s=starts: by_modules(encoder, scaler, e, s),
            "published": lambda x=signal_mv, v=valid: encode_batch(_as(published), scaler, x, v),
            "product": lambda: [matrix @ matrix for _ in range(20)],
        }
        mine = encode_dense_terms(encoder, scaler, ecg, starts).embedding
        theirs = by_modules(encoder, scaler, ecg, starts)
        apart = np.abs(np.concatenate([mine.mu, mine.log_var], 1) - theirs).max()
        seconds: dict[str, list[float]] = {name: [] for name in jobs}
        for _ in range(rounds):
            for name, job in jobs.items():
                seconds[name].append(_timed(job))
        rate = 20 * 2.0 * size**3
        share = [
            _products(encoder, ecg.n_times, len(starts)) / mine_s / (rate / product_s)
            for mine_s, product_s in zip(seconds["shared pass"], seconds["product"], strict=True)
        ]
        by_published = [
            a / N_PUBLISHED * len(starts) / b
            for a, b in zip(seconds["published"], seconds["shared pass"], strict=True)
        ]
        by_modules_ratio = [
            a / b for a, b in zip(seconds["modules"], seconds["shared pass"], strict=True)
        ]
        print(
            f"{what}: {len(starts)} windows in {min(seconds['shared pass']):.2f} s; "
            f"modules {_median(by_modules_ratio)} x, published network {_median(by_published)} x; "
            f"{_median([100 * s for s in share])} % of the matrix product "
            f"({rate / min(seconds['product']) / 1e9:.0f} GFLOP/s); "
            f"largest difference {apart:.1e}"
        )


def _as(encoder: torch.nn.Module) -> EcgEncoder:
    return encoder  # type: ignore[return-value]


def _median(values: list[float]) -> str:
    return f"{statistics.median(values):.3g} ({min(values):.3g}..{max(values):.3g})"


def compare_filters(rounds: int) -> None:
    """Part 2."""
    import scipy.signal

    fs_hz, ratio = 500.0, Fraction(1, 5)
    of = long.kernel(4, fs_hz, 0.5, 40.0, ratio, KAISER_BETA)
    x = np.random.default_rng(SEED).normal(size=(4, 1200 * of.step))
    sections = scipy.signal.butter(4, (0.5, 40.0), btype="bandpass", fs=fs_hz, output="sos")

    def by_scipy() -> None:
        filtered = scipy.signal.sosfiltfilt(sections, x, axis=-1)
        scipy.signal.resample_poly(filtered, 1, 5, axis=-1, window=("kaiser", 5.0))

    jobs: dict[str, Callable[[], object]] = {
        "stretches": lambda: long.filtered_blocks(x, of),
        "short": lambda: short.resample(
            short.bandpass_twice(x, 4, fs_hz, (0.5, 40.0)), ratio, KAISER_BETA
        ),
        "SciPy": by_scipy,
    }
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            seconds[name].append(_timed(job))
    for name in ("short", "SciPy"):
        ratios = [a / b for a, b in zip(seconds[name], seconds["stretches"], strict=True)]
        print(f"filter and resampling, 500 to 100 Hz: {name} {_median(ratios)} x the stretches")


def bytes_to_map(rounds: int) -> None:
    """Part 3."""
    model = load_model()
    made = simulate_long(30_777, 1, duration_s=1196.0, fs_hz=1000.0, leads="xyz").recording
    with tempfile.TemporaryDirectory() as name:
        files = write_wfdb(
            Path(name), "rec", made.signal_mv, made.fs_hz, made.lead_names, gain=2000.0,
            comments=("simulated by EchoingECG",),
        )  # fmt: skip
        content = [(Path(f).name, Path(f).read_bytes()) for f in files]
    seconds = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        explanation = explain(model, services.read_recording(content))
        figures.map_data(explanation.ecg, explanation.track, model.reference)
        seconds.append(time.perf_counter() - began)
    warm = seconds[1:]
    print(
        f"20 min of X, Y, Z at 1000 Hz, bytes to map, {len(explanation.track)} windows: "
        f"{statistics.median(warm):.2f} s ({min(warm):.2f} to {max(warm):.2f})"
    )


def write_record(folder: Path, hours: float) -> Path:
    """A WFDB record of 12 leads at 500 Hz, format 16, whose beats come from one wave."""
    fs_hz, n_frames = 500, round(hours * 3600 * 500)
    rng = np.random.default_rng(SEED)
    beat = np.zeros(fs_hz)
    for at_s, width_s, size in ((0.2, 0.03, 20), (0.36, 0.01, 200), (0.6, 0.05, 50)):
        beat += size * np.exp(-0.5 * ((np.arange(fs_hz) / fs_hz - at_s) / width_s) ** 2)
    minute = np.tile(beat[:, np.newaxis] * np.linspace(0.4, 1.2, 12), (60, 1))
    with (folder / "long.dat").open("wb") as file:
        for start in range(0, n_frames, len(minute)):
            noisy = minute + rng.normal(0, 6, minute.shape)
            file.write(noisy[: n_frames - start].astype("<i2").tobytes())
    lines = [f"long 12 {fs_hz} {n_frames}"]
    lines += [f"long.dat 16 200/mV 16 0 0 0 0 {lead}" for lead in LEADS]
    (folder / "long.hea").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "long.hea"


def _explained(job: tuple[str, float, bool, int]) -> tuple[list[str], float]:
    """Reads, filters and embeds a record; what each took, and seconds of all."""
    path, stride_s, stay_stored, threads = job
    torch.set_num_threads(threads)
    model = load_model()
    told, seconds = [], []

    def step(what: str, work: Callable[[], object]) -> object:
        Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts here
        begun, cpu = time.perf_counter(), time.process_time()
        result = work()
        status = Path("/proc/self/status").read_text().splitlines()
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
        seconds.append(time.perf_counter() - begun)
        told.append(
            f"{what} {seconds[-1]:.1f} s ({time.process_time() - cpu:.1f} s of "
            f"processor time), peak {peak / 1e6:.2f} GB"
        )
        return result

    held: list[Any] = [step("read", lambda: read_recording(path, stay_stored=stay_stored))]
    # Popped, so that nothing keeps the recording while its windows are embedded.
    held.append(step("filter", lambda: standardise(held.pop())))
    step("embed", lambda: ExplainJob(model, held[0], stride_s).run())
    return told, sum(seconds)


def explain_day(hours: float, threads: int) -> None:
    """Part 4."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_record(Path(folder), hours)
        context = multiprocessing.get_context("spawn")
        for stride_s, stay_stored in ((10.0, True), (1.0, True), (10.0, False)):
            with context.Pool(1) as pool:
                told, _ = pool.apply(_explained, ((str(path), stride_s, stay_stored, threads),))
            where = "signal left in its file" if stay_stored else "signal in memory"
            print(f"{hours:g} h, a window every {stride_s:g} s, {where}: {'; '.join(told)}")


def slope(hours: float, threads: int) -> None:
    """Part 4, its second half."""
    context = multiprocessing.get_context("spawn")
    windows, took = [], []
    for part in (70, 20, 4, 1):
        with tempfile.TemporaryDirectory() as folder, context.Pool(1) as pool:
            path = write_record(Path(folder), hours / part)
            told, seconds = pool.apply(_explained, ((str(path), 1.0, True, threads),))
        windows.append(3600 * hours / part - 9)
        took.append(seconds)
        print(f"{windows[-1]:,.0f} windows, one a second: {seconds:.1f} s; {'; '.join(told)}")
    exponent = np.polyfit(np.log(windows), np.log(took), 1)[0]
    print(f"  time grows with the number of windows to the power {exponent:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(SEED)
    compare_encoders(args.rounds)
    compare_filters(args.rounds)
    bytes_to_map(args.rounds)
    if args.hours:
        explain_day(args.hours, args.threads)
        slope(args.hours, args.threads)


if __name__ == "__main__":
    main()
