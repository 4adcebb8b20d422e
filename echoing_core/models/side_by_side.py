"""Pieces of work on all cores, each by a thread of its own.

PyTorch shares every single operation out to its threads, which wait for each other in a loop that
keeps their cores busy. As soon as anything else wants one of these cores all of them wait for the
slowest, many hundred times a second: with two other processes on two cores twelve times as long. Of
pieces that are independent each thread does its own, and none waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import TypeVar

import torch

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def side_by_side(
    work: Callable[[Piece], Result], pieces: Iterable[Piece], *, at_once: int | None = None
) -> Iterator[Result]:
    """Do every piece, several at a time.

    Parameters
    ----------
    work : callable
        Mostly calls of PyTorch, which let other threads run; sure to be called from several.
    pieces : iterable
        Drawn as they are needed, one ahead.
    at_once : int, optional
        How many at a time; by default as many as PyTorch has threads here.

    Yields
    ------
    result
        In the order of the pieces.
    """
    n_threads, waiting = torch.get_num_threads(), iter(pieces)
    at_once, first = at_once or n_threads, list(islice(waiting, 2))
    if at_once == 1 or len(first) < 2:
        for piece in chain(first, waiting):
            yield work(piece)
        return
    running: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(at_once, initializer=torch.set_num_threads, initargs=(1,))
    try:
        for piece in chain(first, waiting):
            running.append(pool.submit(work, piece))
            if len(running) > at_once:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        # A thread's number of threads is also that of threads to come.
        torch.set_num_threads(n_threads)
