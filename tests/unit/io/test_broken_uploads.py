"""Every broken upload ends in one readable sentence of the right kind."""

from __future__ import annotations

import re

import pytest

from echoing_core.errors import RecordError
from echoing_core.io import read_recording
from echoing_core.signals import standardise
from tests.broken_uploads import BrokenUpload, broken_uploads, sound_upload

UPLOADS = broken_uploads()


def test_there_are_enough_and_the_sound_one_is_sound() -> None:
    assert len(UPLOADS) >= 20
    assert len({upload.name for upload in UPLOADS}) == len(UPLOADS)
    assert standardise(read_recording(sound_upload())).n_times == 1200


@pytest.mark.parametrize("upload", UPLOADS, ids=[u.name for u in UPLOADS])
def test_it_is_refused_with_a_sentence(upload: BrokenUpload) -> None:
    if upload.refused_by == "read":
        with pytest.raises(RecordError) as caught:
            read_recording(upload.files)
    else:
        recording = read_recording(upload.files)
        with pytest.raises(RecordError) as caught:
            standardise(recording)
    assert type(caught.value) is upload.error
    sentence = str(caught.value)
    assert upload.expected in sentence
    assert sentence.isprintable()
    assert sentence.endswith((".", "?"))
    assert 20 < len(sentence) < 300
    # No exception names, no internals, no folders.
    assert not re.search(r"Error|Traceback|\w+/\w+/|/tmp|None|nan|\bdict\b|0x", sentence)
