"""Files that belong to one recording are found together, whatever their order and names."""

from __future__ import annotations

import itertools

import pytest

from echoing_core.errors import UnreadableRecordError
from echoing_core.io import read_recording
from echoing_core.io.grouping import RecordFiles, group_records
from echoing_core.io.sources import SourceFile
from tests import broken_uploads as broken
from tests import ecg_files as made


def groups_of(files: dict[str, bytes]) -> list[RecordFiles]:
    return group_records(SourceFile(name, len(data), data=data) for name, data in files.items())


def names_in(group: RecordFiles) -> list[str]:
    return [file.name for file in group.files]


def test_a_header_and_its_data_are_one_in_any_order() -> None:
    files = {**broken.sound_upload("b"), **broken.sound_upload("A"), "c.edf": made.edf(made.ecg())}
    for order in itertools.permutations(files):
        groups = groups_of({name: files[name] for name in order})
        assert [names_in(g) for g in groups] == [["A.hea", "A.dat"], ["b.hea", "b.dat"], ["c.edf"]]
        assert [g.name for g in groups] == ["A", "b", "c.edf"]
        assert [g.header_name for g in groups] == ["A.hea", "b.hea", None]
        assert not any(g.refusal for g in groups)


def test_a_header_takes_what_it_names_and_the_annotations_that_are_read() -> None:
    header = broken.header("one", broken.TWELVE, 1200, data="Signals.DAT")
    data = broken.sound_upload("one")["one.dat"]
    edf = made.edf(made.ecg())
    groups = groups_of(
        {"one.hea": header, "signals.dat": data, "one.atr": b"\0\1\2\3", "one.edf": edf,
         "one.apn": b"\0\1\2\3"}
    )  # fmt: skip
    assert [names_in(g) for g in groups] == [["one.hea", "one.atr", "signals.dat"], ["one.edf"]]


def test_segments_belong_to_their_master_and_so_do_their_files() -> None:
    parts = {**broken.sound_upload("s1"), **broken.sound_upload("s2")}
    master = b"# a comment\nall/3 12 100 3600\ns1 1200\n~ 1200\nS2 1200\n"
    (group,) = groups_of({**parts, "all.hea": master})
    assert names_in(group) == ["all.hea", "s1.dat", "s1.hea", "s2.dat", "s2.hea"]
    assert group.name == "all"


def test_two_headers_may_name_one_data_file() -> None:
    data = broken.sound_upload("x")["x.dat"]
    headers = {
        f"{name}.hea": broken.header(name, broken.TWELVE, 1200, data="x.dat") for name in "ab"
    }
    groups = groups_of({**headers, "x.dat": data})
    assert [names_in(g) for g in groups] == [["a.hea", "x.dat"], ["b.hea", "x.dat"]]


def test_a_damaged_header_keeps_the_files_of_its_name() -> None:
    files = {"bad.hea": b"nonsense", "bad.dat": b"\0\0", "other.dat": b"\0\0"}
    assert [names_in(g) for g in groups_of(files)] == [["bad.hea", "bad.dat"], ["other.dat"]]


def test_a_second_file_of_one_name_is_refused_alone() -> None:
    one = SourceFile("x.csv", 2, data=b"1,")
    two = SourceFile("X.csv", 2, data=b"2,")
    refusal_of = {group.files[0]: group.refusal for group in group_records([one, two])}
    assert set(refusal_of) == {one, two} and not refusal_of[one]
    assert "X.csv" in refusal_of[two] and "another name" in refusal_of[two]


def test_the_reader_takes_the_master_and_asks_where_two_records_stand() -> None:
    parts = {**broken.sound_upload("s1"), **broken.sound_upload("s2")}
    master = b"all/2 12 100 2400\ns1 1200\ns2 1200\n"
    assert read_recording({**parts, "all.hea": master}).duration_s == 24.0
    with pytest.raises(UnreadableRecordError, match=r"2 recordings \(s1, s2\)"):
        read_recording(parts)
