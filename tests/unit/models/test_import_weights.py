"""Published weights become a model folder; what only looks like them is refused, nothing runs."""

from __future__ import annotations

import json
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from echoing_core import services
from echoing_core.cli import app
from echoing_core.errors import CheckpointError, ConfigError
from echoing_core.evaluate.shipped.gallery import gallery_set
from echoing_core.evaluate.uncertainty.benchmark import Folders, _left_out
from echoing_core.io.wfdb.write import write_wfdb
from echoing_core.models.foreign import read_published, read_published_scaler, suggested_order
from echoing_core.models.pickled import read_scaler, read_tensors
from echoing_core.models.tokenizer import load_tokenizer, read_bert_tokenizer
from echoing_core.records import LEADS
from tests.released_model import (
    AVF_MV,
    AVL_MV,
    CONFIG,
    ENTRIES,
    published_state,
    scaler,
    write_published,
    write_released_model,
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A released model, an index made with it, and two recordings."""
    folder = tmp_path_factory.mktemp("released")
    write_released_model(folder / "model")
    rng = np.random.default_rng(0)
    signal = rng.normal(0, 0.3, (12, 14 * 250))
    write_wfdb(folder, "twelve", signal, 250, LEADS)
    write_wfdb(folder, "two", signal[:2], 250, ("II", "V1"))
    return folder


@pytest.fixture
def run(place: Path) -> Callable[..., Any]:
    def invoke(*arguments: str | Path) -> Any:
        given = [str(argument) for argument in arguments]
        return CliRunner().invoke(app, [*given, "--model", str(place / "model")])

    return invoke


SHARED_FOLDER = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

# --- what is read ----------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("dump", [joblib.dump, None], ids=["joblib", "pickle"])
def test_scalers_of_every_protocol_are_read(tmp_path: Path, dump: Any, protocol: int) -> None:
    made, path = scaler(), tmp_path / "scaler.pkl"
    if dump is None:
        path.write_bytes(pickle.dumps(made, protocol=protocol))
    else:
        dump(made, path, protocol=protocol)
    mean, scale = read_scaler(path)
    np.testing.assert_array_equal(mean, made.mean_)
    np.testing.assert_array_equal(scale, made.scale_)


def test_numpy_1_names_are_read(tmp_path: Path) -> None:
    written = pickle.dumps(scaler(), protocol=2)
    assert b"numpy._core.multiarray" in written
    (tmp_path / "old.pkl").write_bytes(
        written.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    )
    np.testing.assert_array_equal(read_scaler(tmp_path / "old.pkl")[1], scaler().scale_)


def test_scaler_rows_come_into_our_order(tmp_path: Path) -> None:
    joblib.dump(scaler("mimic"), tmp_path / "s.pkl")
    ours, note = read_published_scaler(tmp_path / "s.pkl", "mimic")
    by_lead = dict(zip(LEADS, ours.scale_mv, strict=True))
    assert by_lead["aVL"] == pytest.approx(AVL_MV) and by_lead["aVF"] == pytest.approx(AVF_MV)
    assert "the scaler fits it" in note
    _, doubt = read_published_scaler(tmp_path / "s.pkl", "standard")
    assert "--lead-order mimic" in doubt and doubt.startswith("Caution")


def test_the_order_is_told_only_where_the_numbers_tell_it() -> None:
    assert suggested_order(np.asarray(scaler("mimic").scale_)) == "mimic"
    assert suggested_order(np.asarray(scaler("standard").scale_)) == "standard"
    assert suggested_order(np.ones(12)) is None
    # I and II alike: aVL and aVF have the same size, whatever their order.
    alike = np.array([0.2, 0.2, 0.15, 0.1, 0.2, 0.21, *([0.3] * 6)])
    assert suggested_order(alike) is None


def test_tensors_are_read_as_torch_reads_them(tmp_path: Path) -> None:
    table = torch.arange(12.0).reshape(3, 4)
    saved = {
        "turned": table.T, "part": table[1:, 1:], "none": torch.zeros(0, 3),
        "half": table.half(), "brain": table.bfloat16(), "count": torch.tensor(7),
    }  # fmt: skip
    torch.save(saved, tmp_path / "t.pt")
    read = read_tensors(tmp_path / "t.pt")
    for name, value in saved.items():
        wanted = value if name == "count" else value.float()
        assert torch.equal(read[name], wanted) and read[name].is_contiguous(), name


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: OrderedDict(state),
        lambda state: {"epoch": 3, "state_dict": state, "lr": [0.1, None]},
        lambda state: {"module." + name: value for name, value in state.items()},
        lambda state: (
            state | {"text_encoder.backbone.embeddings.position_ids": torch.arange(48)[None]}
        ),
        lambda state: {name: v.half() if v.is_floating_point() else v for name, v in state.items()},
    ],
    ids=["plain", "ordered", "nested", "module", "position_ids", "half"],
)
def test_tables_of_weights_in_any_usual_form_load_strictly(tmp_path: Path, wrap: Any) -> None:
    state = published_state()
    torch.save(wrap(state), tmp_path / "w.pt")
    encoder = read_published(tmp_path / "w.pt", "standard")
    assert encoder.config.settings() == CONFIG.settings() | {
        "released_text": CONFIG.settings()["released_text"] | {"max_tokens": 48}
    }
    assert not encoder.training and not encoder.ecg.conv1.weight.requires_grad
    close = torch.allclose(encoder.ecg.conv1.weight, state["ecg_encoder.conv1.weight"], atol=1e-3)
    assert close
    with torch.inference_mode():
        ids = torch.ones(1, 5, dtype=torch.int64)
        assert torch.isfinite(encoder.text(ids, ids)[1]).all()


def test_published_batch_norm_metadata_is_no_obstacle(tmp_path: Path) -> None:
    # A module's own state_dict carries `_metadata` as an attribute, which becomes a BUILD.
    torch.save(torch.nn.BatchNorm1d(3).state_dict(), tmp_path / "bn.pt")
    assert set(read_tensors(tmp_path / "bn.pt")) >= {"running_mean", "num_batches_tracked"}


# --- what is refused -------------------------------------------------------------------------


class Payload:
    """Makes a file, if anybody executes its pickle."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return (Path.touch, (self.target,))


class SystemPayload(Payload):
    def __reduce__(self) -> Any:
        import os

        return (os.system, (f"touch {self.target}",))


class EvalPayload(Payload):
    def __reduce__(self) -> Any:
        return (eval, (f"__import__('pathlib').Path({str(self.target)!r}).touch()",))


PAYLOADS = [Payload, SystemPayload, EvalPayload]


@pytest.mark.parametrize("kind", PAYLOADS)
@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
def test_a_scaler_with_a_payload_is_refused_and_nothing_runs(
    tmp_path: Path, kind: type[Payload], protocol: int
) -> None:
    target = tmp_path / "ran"
    path = tmp_path / "scaler.pkl"
    loaded = scaler()
    loaded.extra = kind(target)
    for content in (kind(target), loaded, [loaded, kind(target)]):
        path.write_bytes(pickle.dumps(content, protocol=protocol))
        with pytest.raises(CheckpointError):
            read_scaler(path)
        joblib.dump(content, path)
        with pytest.raises(CheckpointError, match=r"Nothing in it was\s+executed"):
            read_scaler(path)
    assert not target.exists()


@pytest.mark.parametrize("kind", PAYLOADS)
def test_weights_with_a_payload_are_refused_and_nothing_runs(
    tmp_path: Path, kind: type[Payload]
) -> None:
    target = tmp_path / "ran"
    for content in (
        kind(target),
        {"state_dict": published_state(), "hook": kind(target)},
        published_state() | {"ecg_encoder.conv1.weight": kind(target)},
    ):
        torch.save(content, tmp_path / "w.pt")
        with pytest.raises(CheckpointError, match="Nothing in it was executed"):
            read_published(tmp_path / "w.pt")
    assert not target.exists()


def test_the_payloads_would_have_run(tmp_path: Path) -> None:
    for kind in PAYLOADS:
        target = tmp_path / kind.__name__
        pickle.loads(pickle.dumps(kind(target)))
        assert target.exists()


@pytest.mark.parametrize(
    "program",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"\x80\x02cbuiltins\neval\nX\x01\x00\x00\x001\x85R.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",
        b"\x80\x02(ios\nsystem\n.",
        b"\x80\x02(cos\nsystem\nX\x04\x00\x00\x00trueo.",
        b"\x80\x02\x82\x01.",
        b"\x80\x02cnumpy\nndarray\n)R.",
        b"\x80\x02cnumpy\ndtype\nX\x01\x00\x00\x00O\x85R.",
        b"\x80\x02X\x01\x00\x00\x00aQ.",
        b"\x80\x02h\x05.",
        b"\x80\x02.",
        b"\x80\x02]",
        b"\x80",
        # A nest of tuples, each twice the one before: 2 ** 80 items if anybody wrote it out.
        b"\x80\x02)" + b"q\x00h\x00h\x00\x86" * 80 + b"q\x01h\x01h\x01\x93.",
    ],
)  # fmt: skip
def test_hand_made_programs_end_in_a_sentence(tmp_path: Path, program: bytes) -> None:
    (tmp_path / "p.pkl").write_bytes(program)
    with pytest.raises(CheckpointError):
        read_scaler(tmp_path / "p.pkl")
    with zipfile.ZipFile(tmp_path / "p.pt", "w") as archive:
        archive.writestr("a/data.pkl", program)
    with pytest.raises(CheckpointError):
        read_tensors(tmp_path / "p.pt")


@SHARED_FOLDER
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6))
def test_damaged_scalers_give_numbers_or_a_sentence(
    tmp_path: Path, changes: list[tuple[int, int]]
) -> None:
    joblib.dump(scaler(), tmp_path / "s.pkl")
    raw = bytearray((tmp_path / "s.pkl").read_bytes())
    for place_, value in changes:
        raw[place_ % len(raw)] = value
    (tmp_path / "s.pkl").write_bytes(raw)
    try:
        mean, scale = read_scaler(tmp_path / "s.pkl")
    except CheckpointError:
        return
    assert mean.shape == scale.shape == (12,)


def program_of(path: Path) -> tuple[str, bytes, dict[str, bytes]]:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in members if name.endswith("data.pkl"))
    return name, members[name], members


def rewritten(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@SHARED_FOLDER
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=6))
def test_damaged_tables_give_tensors_or_a_sentence(
    tmp_path: Path, changes: list[tuple[int, int]]
) -> None:
    torch.save({"a": torch.arange(6.0).reshape(2, 3), "b": torch.zeros(4)}, tmp_path / "t.pt")
    name, program, members = program_of(tmp_path / "t.pt")
    raw = bytearray(program)
    for place_, value in changes:
        raw[place_ % len(raw)] = value
    rewritten(tmp_path / "t.pt", members | {name: bytes(raw)})
    try:
        read = read_tensors(tmp_path / "t.pt")
    except CheckpointError:
        return
    assert sum(value.numel() for value in read.values()) <= 20


def test_tensors_that_reach_out_of_their_storage_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.pt"
    torch.save({"a": torch.arange(4.0)}, path)
    name, program, members = program_of(path)
    one = b"K\x04\x85"
    assert program.count(one) == 1
    for shape in (b"K\x05\x85", b"K\xff\x85"):
        rewritten(path, members | {name: program.replace(one, shape)})
        with pytest.raises(CheckpointError, match="reaches out"):
            read_tensors(path)
    # A stride of 0 would make any number of values of one.
    strided = program.replace(b"K\x04\x85q\x08K\x01\x85", b"K\xff\x85q\x08K\x00\x85")
    assert strided != program
    rewritten(path, members | {name: strided})
    with pytest.raises(CheckpointError, match="reaches out"):
        read_tensors(path)
    data = next(member for member in members if member.endswith("data/0"))
    rewritten(path, members | {data: b"\0" * 12})
    with pytest.raises(CheckpointError, match="not as large as it says"):
        read_tensors(path)


def test_other_files_of_weights_are_refused_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    with pytest.raises(CheckpointError, match="no file of weights"):
        read_tensors(path)
    torch.save(published_state(), path, _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r"before version 1\.6"):
        read_tensors(path)
    path.write_bytes(b"not an archive")
    with pytest.raises(CheckpointError, match="damaged"):
        read_tensors(path)
    torch.save({"a": torch.zeros(9)}, path)
    _, _, members = program_of(path)
    rewritten(path, members, zipfile.ZIP_DEFLATED)
    with pytest.raises(CheckpointError, match="compressed"):
        read_tensors(path)
    order = next(name for name in members if name.endswith("byteorder"))
    rewritten(path, members | {order: b"big"})
    with pytest.raises(CheckpointError, match="big-endian"):
        read_tensors(path)
    torch.save([1, 2], path)
    with pytest.raises(CheckpointError, match="no table of tensors"):
        read_tensors(path)


def test_a_truncated_archive_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save({"a": torch.zeros(1000)}, path)
    whole = path.read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError):
            read_tensors(path)
    # A flipped bit in the numbers is found by the archive's own checksum.
    first = whole.index(struct.pack("<4f", 0, 0, 0, 0) * 8)
    path.write_bytes(whole[: first + 9] + b"\x01" + whole[first + 10 :])
    with pytest.raises(CheckpointError, match="damaged"):
        read_tensors(path)


def test_other_architectures_are_refused_with_a_sentence(tmp_path: Path) -> None:
    path, state = tmp_path / "w.pt", published_state()
    for changed in (
        {"weight": torch.zeros(3)},
        {name: v for name, v in state.items() if "std_gpool" not in name},
        state | {"loss.shift": torch.zeros(1)},
        state | {"ecg_encoder.linear.weight": torch.zeros(12, 5)},
    ):
        torch.save(changed, path)
        with pytest.raises(CheckpointError, match=r"published echoingecg\.pt"):
            read_published(path)
    state["ecg_encoder.linear.bias"] = torch.full((12,), float("nan"))
    torch.save(state, path)
    with pytest.raises(CheckpointError, match="not finite"):
        read_published(path)
    with pytest.raises(ConfigError, match="no lead order"):
        read_published(path, "alphabetical")


def test_other_scalers_are_refused_with_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "s.pkl"
    with pytest.raises(CheckpointError, match="no scaler"):
        read_scaler(path)
    joblib.dump({"mean_": np.zeros(12)}, path)
    with pytest.raises(CheckpointError, match="no StandardScaler"):
        read_scaler(path)
    joblib.dump(scaler(), path, compress=3)
    with pytest.raises(CheckpointError, match="uncompressed"):
        read_scaler(path)
    fewer = scaler()
    fewer.scale_ = fewer.scale_[:8]
    joblib.dump(fewer, path)
    with pytest.raises(CheckpointError, match="12 numbers"):
        read_scaler(path)
    broken = scaler()
    broken.mean_ = np.full(12, np.nan)
    joblib.dump(broken, path)
    with pytest.raises(CheckpointError, match="not finite"):
        read_scaler(path)
    path.write_bytes(b"\x80\x04" + b"N" * (2**20 + 1))
    with pytest.raises(CheckpointError, match="far too large"):
        read_scaler(path)


# --- the vocabulary --------------------------------------------------------------------------


def test_texts_are_lower_cased_and_stand_in_the_published_sentence(tmp_path: Path) -> None:
    _, _, vocab = write_published(tmp_path)
    tokenizer = read_bert_tokenizer(vocab, 48)
    ids, mask = tokenizer.encode(["SINUS Rhythm"])
    words = [ENTRIES[i] for i in ids[0]]
    assert words[0] == "[CLS]" and words[-1] == "[SEP]" and mask.all()
    assert words[1:4] == ["Given", "the", "data"]
    assert words[-4:-1] == ["sinus", "rhythm", "."]
    long, _ = tokenizer.encode(["sinus rhythm " * 60])
    assert long.shape == (1, 48) and ENTRIES[long[0, -1]] == "[SEP]"
    assert tokenizer.unknown_words("sinus Rhythm tachycardia") == ("tachycardia",)
    tokenizer.save(tmp_path / "tokenizer")
    again = load_tokenizer(tmp_path / "tokenizer")
    assert (again.template, again.saw_words) == (tokenizer.template, False)
    np.testing.assert_array_equal(again.encode(["SINUS Rhythm"])[0], ids)
    # A folder does as well as the file.
    np.testing.assert_array_equal(read_bert_tokenizer(tmp_path).encode(["SINUS Rhythm"])[0], ids)


@pytest.mark.slow
def test_the_vocabulary_tokenises_as_transformers_does(tmp_path: Path) -> None:
    from transformers import BertTokenizer

    _, _, vocab = write_published(tmp_path)
    theirs = BertTokenizer(vocab=str(vocab), do_lower_case=False)
    texts = ["sinus rhythm, 72/min. left atrial x < 5 %", "a-v block; qrs 120"]
    ours = read_bert_tokenizer(vocab, 48, template=None)
    ids, mask = ours.encode(texts)
    for row, kept, text in zip(ids, mask, texts, strict=True):
        assert row[kept > 0].tolist() == theirs(text)["input_ids"]


def test_wrong_vocabularies_are_sentences(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("a\nb\n", encoding="utf-8")
    with pytest.raises(CheckpointError, match="not the vocabulary of a BERT"):
        read_bert_tokenizer(tmp_path)
    with pytest.raises(CheckpointError, match="No vocabulary was found"):
        read_bert_tokenizer("nobody/no-such-bert")
    weights, pickled, vocab = write_published(tmp_path / "files")
    vocab.write_text("\n".join([*ENTRIES, "more"]) + "\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="belongs to these weights"):
        services.import_weights(weights, pickled, tmp_path / "model", vocab=vocab)
    assert not (tmp_path / "model").exists()


# --- the whole way ---------------------------------------------------------------------------


def test_import_names_the_licence_and_the_order(tmp_path: Path) -> None:
    weights, pickled, vocab = write_published(tmp_path)
    done = CliRunner().invoke(
        app,
        [
            "import-weights", str(weights), str(pickled), str(tmp_path / "model"),
            "--vocab", str(vocab), "--reference-ecgs", "10",
        ],
    )  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert "CC BY-NC-ND 4.0" in done.stdout and "order of the leads" in done.stdout
    card = (tmp_path / "model" / "card.md").read_text(encoding="utf-8")
    assert "CC BY-NC-ND 4.0" in card and "10 simulated ECGs" in card
    config = json.loads((tmp_path / "model" / "config.json").read_text(encoding="utf-8"))
    assert config["model"]["released_ecg"]["lead_order"] == "mimic"
    model = services.load_model(tmp_path / "model")
    assert model.imported and not model.simulated_training and not model.has_attribution
    assert model.reference.simulated and model.reference.n == 10


def test_a_payload_on_the_command_line_ends_in_one_sentence(tmp_path: Path) -> None:
    weights, pickled, vocab = write_published(tmp_path)
    joblib.dump(Payload(tmp_path / "ran"), pickled)
    arguments = ["import-weights", str(weights), str(pickled), str(tmp_path / "model")]
    done = CliRunner().invoke(app, [*arguments, "--vocab", str(vocab)])
    assert done.exit_code == 2 and "Nothing in it was executed" in done.stderr
    assert not (tmp_path / "ran").exists() and not (tmp_path / "model").exists()


def test_an_imported_model_computes_what_its_file_says(place: Path) -> None:
    folder = place / "model_files"
    encoder = read_published(folder / "echoingecg.pt")
    model = services.load_model(place / "model")
    x = torch.randn(2, 12, 1000)
    with torch.inference_mode():
        ours, theirs = model.checkpoint.encoder.ecg(x, x), encoder.ecg(x, x)
    assert torch.equal(ours[0], theirs[0]) and torch.equal(ours[1], theirs[1])
    # As the published code filters, and so that one can see it.
    assert model.checkpoint.filter_padding == "scipy"
    assert any("SciPy's own padding" in note for note in model.checkpoint.training["notes"])


def test_explain_with_a_released_model(run: Any, place: Path) -> None:
    done = run("explain", place / "twelve.hea", "--json", place / "seen.json", "--csv", "-")
    assert done.exit_code == 0, done.stderr
    header = done.stdout.splitlines()[0]
    assert "valid_V6" in header and "sigma2" not in header and "strangeness" not in header
    seen = json.loads((place / "seen.json").read_text(encoding="utf-8"))
    assert len(seen["windows"]) == 5 and "uncertainty_by_lead" not in seen["windows"][0]
    assert not any("cannot be told" in note for note in seen["notes"])


def test_missing_leads_are_never_silent(run: Any, place: Path) -> None:
    told = run("explain", place / "two.hea")
    assert "note: This model cannot be told what was not recorded: the leads I, III" in told.stdout
    asked = run("ask", place / "two.hea", "--prompt", "sinus rhythm")
    assert "cannot be told what was not recorded" in asked.stdout


@pytest.mark.slow
def test_ask_index_and_search_with_a_released_model(run: Any, place: Path) -> None:
    asked = run("ask", place / "twelve.hea", "--prompt", "sinus rhythm", "--fuse", "precision")
    assert asked.exit_code == 0, asked.stderr
    built = run("index", "build", place / "index", "--items", "12")
    assert built.exit_code == 0, built.stderr
    for query in (("sinus tachycardia",), ("--recording", str(place / "twelve.hea"))):
        found = run("search", *query, "--index", place / "index", "-k", "3")
        assert found.exit_code == 0, found.stderr
        assert len([line for line in found.stdout.splitlines() if "(simulated)" in line]) == 3
    # In quotation marks a text is searched as it stands, word by word.
    words = run("search", '"sinus tachycardia"', "--index", place / "index")
    assert "has these words in pieces only: tachycardia" in words.stderr
    lacking = run("search", "--recording", place / "two.hea", "--index", place / "index")
    assert "cannot be told" in lacking.stderr


@pytest.mark.slow
def test_figures_of_a_released_model_go_into_its_own_card(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import echoing_core.evaluate.shipped.held_out as measuring

    few = measuring.HeldOut(measuring.SIMULATED, gallery_set(24, 5), simulated=True)
    monkeypatch.setattr(measuring, "held_out_sets", lambda *given, **named: [few])
    monkeypatch.setattr(measuring, "GALLERY_N", 12)
    before = services.load_model(place / "model")
    measured = services.evaluate_held_out(before, folder=place / "model", n_resamples=20)
    assert {result.model for result in measured.results} == {"model", "random weights"}
    after = services.load_model(place / "model")
    assert after.hash == before.hash
    assert "CC BY-NC-ND 4.0" in after.card_markdown and "| R@10" in after.card_markdown


def test_parts_of_the_benchmark_that_need_leads_say_why_they_are_left_out(place: Path) -> None:
    checkpoint = services.load_model(place / "model").checkpoint
    told = _left_out(checkpoint, Folders())
    assert told["which leads, and when"] == "this model does not tell leads and moments apart"
    assert "cannot be told" in told["leads taken away"]
