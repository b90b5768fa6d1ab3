"""Which runs fit a cluster: over its nodes, by CPUs, GPUs and measured memory; what can never fit."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.cluster import Capacity
from orchestration.errors import UserError
from orchestration.kernels import PLAIN
from orchestration.memory import GIB
from orchestration.nodes import Node
from orchestration.packing import Peak, advice, packed, peak_of, per_gpu
from orchestration.placement import Placement, fit, placement
from orchestration.study import Resources


def _cluster(*nodes: tuple[float, float], memory: float = 0.0) -> Capacity:
    return Capacity(tuple(Node(cpus, gpus, memory * GIB) for cpus, gpus in nodes))


def _run(workers: int = 1, cpus: int = 1, gpus: float = 0.0, **more: Any) -> Placement:
    return Placement("inline", workers, cpus, gpus, 1, PLAIN, **more)


@pytest.mark.parametrize(
    ("wanted", "nodes", "runs"),
    [
        (_run(gpus=0.25), [(16, 1)], 4),  # four on a GPU
        (_run(gpus=0.25), [(3, 1)], 3),  # if there are CPUs for them
        (_run(cpus=4), [(6, 0), (6, 0)], 2),  # a worker lies on one node: 12 CPUs hold two, not three
        (_run(workers=2, cpus=4), [(4, 0), (4, 0)], 1),  # a run's workers may lie on two
        (_run(workers=8, gpus=1), [(64, 8), (64, 8)], 2),
        (_run(gpus=1), [(0, 0), (8, 2)], 2),  # a head without CPUs holds nothing
        (_run(gpus=0.1), [(32, 1)], 10),  # 1 / 0.1 is not below ten by rounding
    ],
)
def test_how_many_runs_fit(wanted: Placement, nodes: list[tuple[float, float]], runs: int) -> None:
    assert fit(wanted, _cluster(*nodes)) == runs


@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 4)), min_size=1, max_size=4),
    st.integers(1, 3),
    st.integers(1, 4),
)
def test_what_fits_takes_no_more_than_there_is(nodes: list[tuple[int, int]], workers: int, cpus: int) -> None:
    there = _cluster(*nodes)
    runs = fit(_run(workers, cpus, gpus=1.0), there)
    assert runs * workers * cpus <= there.cpus and runs * workers <= there.gpus


def test_what_no_node_can_hold_is_refused_though_all_together_could() -> None:
    with pytest.raises(UserError, match=r"8 CPU .* on 2 node\(s\); lower resources.cpus_per_worker"):
        placement(Resources(cpus_per_worker=6), frozen=True, capacity=_cluster((4, 0), (4, 0)))


def test_concurrent_follows_the_cluster_only_where_it_is_auto() -> None:
    there = _cluster((4, 0))
    auto = placement(Resources(), frozen=True, capacity=there)
    stated = placement(Resources(concurrent=2), frozen=True, capacity=there)
    assert (auto.concurrent, auto.follows, stated.concurrent, stated.follows) == (4, True, 2, False)
    with pytest.raises(UserError, match="received 5, but only 4"):
        placement(Resources(concurrent=5), frozen=True, capacity=there)


def test_a_gpu_is_cut_by_what_its_memory_holds() -> None:
    # 3 GiB of tensors, a tenth to spare, 0.6 GiB for CUDA: 3.9 GiB each, 6 on 24 GiB, 20 on 80.
    peak = Peak(host=2.0, gpu=3.0)
    assert (per_gpu(peak, 24.0), per_gpu(peak, 80.0), per_gpu(peak, 3.0)) == (6, 20, 0)
    found = packed(_run(gpus=1.0, follows=True), peak, 24.0, _cluster((32, 2), memory=256.0))
    assert found.gpus == pytest.approx(1 / 6, abs=1e-4) and 6 * found.gpus <= 1
    assert found.concurrent == 12


def test_hosts_memory_bounds_what_goes_at_once_on_each_node() -> None:
    # 5 GiB and a tenth: 5.5 GiB; 16 GiB hold two on either node, whatever the CPUs.
    found = packed(_run(follows=True), Peak(host=5.0), 0.0, _cluster((8, 0), (8, 0), memory=16.0))
    assert found.concurrent == 4
    assert found.memory == pytest.approx(5.5 * GIB, abs=1)


def test_a_stated_number_stays_the_most() -> None:
    stated = _run()
    assert packed(stated, Peak(host=1.0), 0.0, _cluster((8, 0), memory=64.0)).concurrent == 1


def test_one_run_goes_though_ray_counts_less_memory_than_it_took() -> None:
    found = packed(_run(follows=True), Peak(host=20.0), 0.0, _cluster((8, 0), memory=16.0))
    assert (found.concurrent, found.memory) == (1, 0)


def test_the_advice_names_the_number_that_fits() -> None:
    place = placement(Resources(), frozen=True, capacity=_cluster((8, 0)))
    small = advice(place, Peak(host=5.0), 0.0, _cluster((8, 0), memory=16.0))
    assert "up to 5.00 GiB" in small and "only 2 runs fit by memory, 8 go" in small


def test_the_peak_is_over_the_whole_run() -> None:
    lines = [{"train/memory_gib": 1.0, "train/gpu_memory_gib": 4.0}, {"train/memory_gib": 2.0}]
    assert peak_of(lines) == Peak(2.0, 4.0)
    assert peak_of([{"epoch": 1}]) is None


def test_the_first_trial_alone_is_measured_then_the_rest_is_packed(
    document: dict[str, Any], arguments: Callable[..., Any], ray_session: Capacity, capfd: Any
) -> None:
    from orchestration import tune

    document["resources"]["pack"] = "measured"
    document["search"] = {"trials": 3, "scheduler": "none"}
    document["final"] = {"top_k": 0}
    assert tune.tune(arguments(document)) == 0
    said = capfd.readouterr().err
    assert said.index("a worker took up to") < said.index("packed:") < said.index("[3/3]")
