"""One function per user task. The command line and the app both call these, nothing below.

Every name imported here is public; there is no second list of them.

A name loads its module when it is first used (`lazy`), and heavy imports happen inside the
functions that need them, so that a command pays for what it does and for nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from echoing_core.lazy import lazily

if TYPE_CHECKING:
    from echoing_core.echo.reading import EchoReader, EchoReading
    from echoing_core.errors import CheckpointError, EchoingError
    from echoing_core.export.annotations import (
        annotation_lines,
        beat_words,
        measurement_rows,
        rhythm_lines,
    )
    from echoing_core.export.batch_table import (
        BATCH_MEASURED,
        BatchFailure,
        BatchRow,
        batch_csv,
        batch_parquet,
    )
    from echoing_core.export.by_hand import (
        MAX_CALIPERS,
        MAX_STRETCHES,
        Caliper,
        WaveMarks,
        caliper_lines,
        calipers_as_text,
        wave_marks_as_text,
    )
    from echoing_core.export.document import (
        AnswerSection,
        Document,
        SearchSection,
        clean_name,
        deidentified,
        document_html,
        document_pdf,
        document_png,
    )
    from echoing_core.export.document.rhythm import RHYTHM_FROM_S
    from echoing_core.export.measurements import (
        VISIT_NOTE,
        difference_words,
        measured_csv,
        measured_json,
        measured_markdown,
        measured_rows,
        measured_tables,
        measured_values,
        serial_lead_rows,
        serial_markdown,
        serial_notes,
        serial_rows,
        serial_tables,
        serial_values,
    )
    from echoing_core.export.review import (
        MAX_MARKS,
        MAX_NOTE,
        Grade,
        ReviewRow,
        WindowMark,
        marks_as_text,
        review_csv,
        review_rows,
    )
    from echoing_core.export.rhythm import (
        annotated,
        measure_rows,
        measure_words,
        pause_marks,
        rhythm_annotations,
        rhythm_csv,
        rhythm_json,
        rhythm_markdown,
        rhythm_tables,
        rhythm_values,
    )
    from echoing_core.export.track import Explanation
    from echoing_core.export.wording import (
        ANSWER_HEADER,
        CALIBRATION_NOTE,
        AnswerLine,
        answer_line,
        answer_values,
        interval_words,
        percent_words,
        percentile_words,
        span_words,
    )
    from echoing_core.io import (
        TableLayout,
        TablePreview,
        Told,
        as_told,
        guessed_leads,
        read_recording,
        records_in,
        told_by_layout,
    )
    from echoing_core.io.annotations import rhythm_words
    from echoing_core.io.many import BatchItem, folder_items, group_files
    from echoing_core.measure import (
        HAND_MARKS,
        BeatsBeside,
        Measured,
        Measurement,
        Serial,
        compare_measured,
    )
    from echoing_core.progress import Progress
    from echoing_core.records import Answer, Hit
    from echoing_core.reports.scp_text import label_words as scp_label_words
    from echoing_core.retrieve.index import GalleryIndex
    from echoing_core.retrieve.search import ItemFilter
    from echoing_core.rhythm import Beats, Rhythm, RhythmView
    from echoing_core.services.asking import (
        AlongAnswers,
        AnswerCheck,
        EncodedQuestion,
        ReadQuestion,
        as_prompt_sets,
        ask,
        asked_window,
        check_answer,
        encode_question,
        fused_window,
        prevalences,
        read_question,
        read_questions,
        verdict_kind,
    )
    from echoing_core.services.at_hand import (
        IndexAtHand,
        ModelAtHand,
        indexes_at_hand,
        models_at_hand,
    )
    from echoing_core.services.batching import BatchJob, batch
    from echoing_core.services.batching_in_parts import BatchSettings, BatchTable, batch_in_parts
    from echoing_core.services.comparing import (
        ALIKE_SHARE,
        LEAD_DIFFERENCE,
        AnswerPair,
        Apart,
        LaidUnder,
        LeadPair,
        answers_beside,
        distances_between_people,
        distances_within,
        laid_under,
        leads_beside,
        share_nearer,
        too_noisy,
        too_unsure,
        windows_apart,
    )
    from echoing_core.services.comparing_models import (
        ModelComparison,
        check_comparison,
        compare_models,
    )
    from echoing_core.services.converting import (
        convert,
        converted_download,
        converted_files,
        download_name,
        format_for,
        written_formats,
    )
    from echoing_core.services.echo import (
        embed_echo_folder,
        measure_echo_teacher,
        measure_echo_teacher_on_echonet,
        train_echo_teacher,
    )
    from echoing_core.services.echo_clips import OpenedEcho, read_echo
    from echoing_core.services.echo_reading import (
        EchoBeside,
        EchoComparison,
        EchoDistance,
        beside_ecg,
        echo_cautions,
        echo_pair_distances,
        echo_pair_rows,
        frame_times_s,
        load_echo_reader,
        measure_echo_pairs,
        teacher_source,
        trained_with,
        why_no_distance,
    )
    from echoing_core.services.echo_studies import evaluate_echo_studies, train_echo2ecg
    from echoing_core.services.embedding import Embedded, embed_collection, embedded_parts
    from echoing_core.services.evaluate import (
        evaluate_calibration,
        evaluate_echo_text,
        evaluate_fusion,
        evaluate_held_out,
        evaluate_preset,
        evaluate_protocol,
        evaluate_quality,
        evaluate_uncertainty,
        evaluation_card,
        evaluation_presets,
    )
    from echoing_core.services.explaining import (
        CLOSE_VIEW_S,
        ExplainJob,
        cautions,
        explain,
        fitting_stride_s,
        refine,
    )
    from echoing_core.services.export import ecg_paper_svg, make_document, track_json
    from echoing_core.services.foreign_encoders import import_encoder
    from echoing_core.services.given import (
        check_calibration_data,
        check_clips,
        check_echo_store_out,
        check_given,
        check_index_out,
        check_model_out,
        check_preset_data,
        check_protocol_data,
        check_published,
        check_teacher_out,
    )
    from echoing_core.services.heads import beside, head_answers, head_prevalences, heads_of
    from echoing_core.services.index_building import (
        BuiltIndex,
        build_embedded_index,
        build_folder_index,
        build_prepared_index,
    )
    from echoing_core.services.lead_references import measure_lead_references, reference_of
    from echoing_core.services.making import (
        build_demo_index,
        build_samples,
        prepare_simulated,
        simulate_cohort,
        train_demo,
    )
    from echoing_core.services.measuring import (
        MEASURED_WHOLE_S,
        measurements,
        serial_comparison,
    )
    from echoing_core.services.models import (
        DEFAULT_MODEL,
        Model,
        Sample,
        assets_folder,
        index_folder,
        index_folders_by_name,
        index_place,
        indexes_folder,
        load_index,
        load_model,
        model_folder,
        model_folders,
        named_sample,
        offered_models,
        prompt_sets,
        recording_source,
        samples,
        shipped_folder,
        shipped_models,
        unknown_words,
        unknown_words_mean,
    )
    from echoing_core.services.preparing import data_sets, prepare_data_set
    from echoing_core.services.reading import (
        Seen,
        SeenGap,
        SeenLead,
        channel_preview,
        formats,
        has_leads,
        table_preview,
        what_the_model_saw,
    )
    from echoing_core.services.ready_collections import (
        COLLECTIONS_VARIABLE,
        KEPT,
        ReadyCollection,
        collection_sources,
        collections_at_hand,
        first_collection,
        ready_collection,
        source_of,
    )
    from echoing_core.services.rhythm import (
        SHOWN_FROM_S,
        rejected_spans,
        rhythm_over_time,
    )
    from echoing_core.services.runs import evaluate_ablation, train_language_model, train_preset
    from echoing_core.services.searching import (
        Collection,
        Dots,
        Found,
        Search,
        draw_item,
        folder_collection,
        index_folders,
        measure_distances,
        pair_rows,
        query_embedding,
        reference_distances,
        shipped_collection,
        shipped_index_fits,
    )
    from echoing_core.services.selecting import FindingShare, in_common
    from echoing_core.services.session_file import (
        Session,
        Setting,
        fingerprint,
        link_query,
        read_session,
        session_text,
        settings_from_link,
    )
    from echoing_core.services.sharded import (
        CLUSTER_VARIABLE,
        NO_SHARDS_FOR_CLUSTER,
        Searched,
        Shards,
        held_collection,
        open_collection,
        open_shards,
    )
    from echoing_core.services.statements import evaluate_statements
    from echoing_core.services.teaching import (
        DrawnCases,
        Shown,
        case_ids,
        draw_teaching_cases,
        drawn_cases,
        export_cases,
        shown_by,
        teaching_case,
    )
    from echoing_core.services.weights import ImportedWeights, import_weights
    from echoing_core.services.windows import (
        FlaggedInterval,
        extreme_windows,
        flagged_intervals,
        fuse_recording,
        most_sure_window,
        window_reasons,
    )
    from echoing_core.services.word_search import search, search_collection, search_in_words
    from echoing_core.signals import standardise
    from echoing_core.signals.heart_beats import HeartBeats, heart_beats
    from echoing_core.signals.lead_sets import measured_words
    from echoing_core.simulate.teaching import REPORT as WHICH_REPORT
    from echoing_core.simulate.teaching import STORIES, TeachingCase
    from echoing_core.stores import refuse_store
    from echoing_core.uncertainty.intervals import (
        UNSURE_PERCENTILE,
        SpanSummary,
        summarise_span,
        visible_windows,
    )
    from echoing_core.uncertainty.meaning import NAMES as SIGMA2_NAMES
    from echoing_core.uncertainty.reasons import WindowReasons
    from echoing_core.zeroshot.answering import AskedWindow
    from echoing_core.zeroshot.prompts import PromptSet, parse_prompt_sets, prompt_sets_text
else:
    __getattr__ = lazily(__name__, __file__)
