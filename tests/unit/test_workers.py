"""Work shared out to processes and to a cluster: nothing is lost with a process or a machine."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from echoing_core.errors import ConfigError, LostProcessError
from echoing_core.workers import in_order, shared
from tests import work_pieces

NUMBERS = range(12)
SQUARES = {n: n * n for n in NUMBERS}


def test_one_process_does_its_work_itself_and_draws_no_more_than_it_needs() -> None:
    drawn: list[int] = []

    def pieces() -> object:
        for n in NUMBERS:
            drawn.append(n)
            yield n, (n,)

    done = shared(work_pieces.squared, pieces(), n_workers=1)  # type: ignore[arg-type]
    assert next(done) == (0, 0) and drawn == [0]
    assert dict(done) == {n: n * n for n in range(1, 12)}


@pytest.mark.slow
def test_processes_do_all_of_it_in_any_order_or_in_that_of_the_pieces() -> None:
    done = shared(work_pieces.squared, ((n, (n,)) for n in NUMBERS), n_workers=2)
    assert dict(done) == SQUARES
    assert list(in_order(work_pieces.squared, ((n,) for n in NUMBERS), n_workers=2)) == [
        n * n for n in NUMBERS
    ]
    with pytest.raises(ConfigError, match="cannot be done"):
        list(shared(work_pieces.refused, [(1, (1,)), (2, (2,))], n_workers=2))


@pytest.mark.slow
def test_the_piece_of_a_process_that_dies_is_given_to_another(tmp_path: Path) -> None:
    pieces = ((n, (n, tmp_path, 5)) for n in NUMBERS)
    assert dict(shared(work_pieces.dies_once, pieces, n_workers=2)) == SQUARES
    with pytest.raises(LostProcessError, match=r"ended 3 times.*fewer --workers"):
        list(shared(work_pieces.always_dies, [("the third", (3,))], n_workers=2))


def test_a_cluster_without_ray_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install \"echoing-core\[ray\]\""):
        list(shared(work_pieces.squared, [(1, (1,))], n_workers=1, cluster="ray"))


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_cluster_of_two_machines_loses_a_process_and_a_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.environ.get("ECHOING_REQUIRE_RAY") != "1":
        pytest.importorskip("ray", reason='Ray is not installed (pip install "echoing-core[ray]")')
    # Workers look the pieces up by their name, as this process does.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    monkeypatch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    import ray
    from ray.cluster_utils import Cluster

    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    other = machines.add_node(num_cpus=1)
    done: dict[int, int] = {}
    try:
        pieces = ((n, (n, tmp_path)) for n in NUMBERS)
        for number, (square, process) in shared(
            work_pieces.slowly_written, pieces, n_workers=2, cluster=machines.address
        ):
            done[number] = square
            if len(done) == 2:
                os.kill(process, signal.SIGKILL)
            if len(done) == 5:
                machines.remove_node(other, allow_graceful=False)
    finally:
        ray.shutdown()
        machines.shutdown()
    assert done == SQUARES
    assert {path.name: int(path.read_text()) for path in tmp_path.glob("*.txt")} == {
        f"{n}.txt": n * n for n in NUMBERS
    }
    with pytest.raises(ConfigError, match="No Ray cluster answers"):
        list(shared(work_pieces.squared, [(1, (1,))], n_workers=1, cluster="127.0.0.1:1"))
