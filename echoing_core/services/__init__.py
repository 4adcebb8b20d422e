"""One function per user task. The command line and the app both call these, nothing below.

Heavy imports happen inside the functions that need them, so that listing the samples or
printing a help text costs nothing.
"""

from echoing_core.errors import CheckpointError, EchoingError
from echoing_core.explanation import Explanation
from echoing_core.io import read_recording
from echoing_core.records import Answer, Hit
from echoing_core.services.echo import (
    embed_echo_folder,
    measure_echo_teacher,
    train_echo_teacher,
)
from echoing_core.services.making import (
    build_demo_index,
    build_samples,
    evaluate_fusion,
    evaluate_model,
    evaluate_quality,
    evaluate_uncertainty,
    simulate_cohort,
    train_demo,
)
from echoing_core.services.preparing import data_sets, prepare_data_set
from echoing_core.services.protocols import (
    evaluate_few_shot,
    evaluate_fine_tune,
    evaluate_retrieval,
    evaluate_zero_shot,
    prepare_simulated,
)
from echoing_core.services.recordings import (
    Model,
    Sample,
    answer_embedding,
    as_prompt_sets,
    ask,
    assets_folder,
    cautions,
    draw_item,
    explain,
    extreme_windows,
    fuse_recording,
    indexes_folder,
    load_index,
    load_model,
    most_sure_window,
    prompt_sets,
    read_upload,
    samples,
    search,
    unknown_words,
    unknown_words_mean,
    window_report,
    window_reports,
)
from echoing_core.services.runs import evaluate_ablation, preset, train_preset
from echoing_core.services.weights import ImportedWeights, import_weights
from echoing_core.uncertainty.reasons import WindowReport
from echoing_core.zeroshot_prompts import PromptSet

__all__ = [
    "Answer",
    "CheckpointError",
    "EchoingError",
    "Explanation",
    "Hit",
    "ImportedWeights",
    "Model",
    "PromptSet",
    "Sample",
    "WindowReport",
    "answer_embedding",
    "as_prompt_sets",
    "ask",
    "assets_folder",
    "build_demo_index",
    "build_samples",
    "cautions",
    "data_sets",
    "draw_item",
    "embed_echo_folder",
    "evaluate_ablation",
    "evaluate_few_shot",
    "evaluate_fine_tune",
    "evaluate_fusion",
    "evaluate_model",
    "evaluate_quality",
    "evaluate_retrieval",
    "evaluate_uncertainty",
    "evaluate_zero_shot",
    "explain",
    "extreme_windows",
    "fuse_recording",
    "import_weights",
    "indexes_folder",
    "load_index",
    "load_model",
    "measure_echo_teacher",
    "most_sure_window",
    "prepare_data_set",
    "prepare_simulated",
    "preset",
    "prompt_sets",
    "read_recording",
    "read_upload",
    "samples",
    "search",
    "simulate_cohort",
    "train_demo",
    "train_echo_teacher",
    "train_preset",
    "unknown_words",
    "unknown_words_mean",
    "window_report",
    "window_reports",
]
