"""Pieces on several threads: in order, each once, and torch's threads as they were."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from echoing_core.models.side_by_side import side_by_side


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_as_many_at_once_as_there_are_threads(three_threads: None) -> None:
    # Each piece waits until two others are under way, too.
    meeting, seen = threading.Barrier(3), []

    def work(piece: int) -> int:
        seen.append((torch.get_num_threads(), threading.get_ident()))
        meeting.wait(timeout=30)
        return piece * piece

    assert list(side_by_side(work, range(6))) == [0, 1, 4, 9, 16, 25]
    assert {n for n, _ in seen} == {1} and len({who for _, who in seen}) == 3
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize(("n", "at_once"), [(1, None), (5, 1)])
def test_nothing_to_share_out(n: int, at_once: int | None, three_threads: None) -> None:
    here = threading.get_ident()
    found = side_by_side(lambda _: threading.get_ident(), range(n), at_once=at_once)
    assert set(found) == {here}


def test_pieces_are_drawn_as_they_are_needed(three_threads: None) -> None:
    drawn = []

    def pieces() -> Iterator[int]:
        for piece in range(100):
            drawn.append(piece)
            yield piece

    results = side_by_side(lambda piece: piece, pieces())
    assert next(results) == 0 and len(drawn) <= 5
    # Whoever stops in between leaves nothing behind.
    results.close()
    assert len(drawn) <= 5 and torch.get_num_threads() == 3


def test_a_piece_that_fails(three_threads: None) -> None:
    def work(piece: int) -> int:
        if piece == 4:
            raise ValueError("piece 4")
        return piece

    got = []
    with pytest.raises(ValueError, match="piece 4"):
        got += side_by_side(work, range(50))
    assert torch.get_num_threads() == 3
