"""The searches that the benchmark of search efficiency runs without Ray are those that Ray runs."""

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestration import cluster, session, space, study_file
from orchestration.folder import StudyFolder
from orchestration.records import Member
from orchestration.tune import tune

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.slow
def test_a_search_without_ray_is_the_search_with_it(
    document: dict[str, Any],
    arguments: Callable[..., Namespace],
    weights: Path,
    ray_session: cluster.Capacity,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One trial at a time: the same points, ends and values. TPE draws from the fourth on, ASHA stops."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    from virtual_search import Curves, Live, search

    document["run"]["model"] = {
        "backbone": {"name": "small_ir", "width": 8, "weights": str(weights)},
        "train_backbone": False,
        "neck": {"name": "mlp", "width": 16},
    }
    document["run"]["train"]["epochs"] = 4
    document["space"]["optimizer.head_lr"] = {"low": 1e-5, "high": 1e-1, "log": True}
    document["search"] = {"trials": 10, "startup": 3, "reduction": 2}
    document["final"] = {"top_k": 0}
    document["resources"]["concurrent"] = 1
    assert tune(arguments(document)) == 0

    def ends(folder: StudyFolder) -> list[tuple[Any, ...]]:
        found: list[Member] = folder.members("trials")
        return [(m.params, m.status, len(folder.lines(m)), m.value) for m in found]

    study = study_file.load(str(arguments(document).space), ["study=virtual"])
    opened = session.open_study(study, space.input_variants(study), None)
    opened.compute_features()
    curves = Curves(tmp_path / "curves.jsonl", "val/age_mae", opened.prepared)
    live = Live(study, opened.prepared)
    trace = search(study, live, curves, lambda trace, spent: False, at_once=1)

    with_ray = ends(StudyFolder(study_file.load(str(arguments(document).space))))
    assert ends(live.folder) == with_ray
    assert {status for _, status, _, _ in with_ray} == {"complete", "pruned"}
    assert trace[-1] == (
        sum(epochs for _, _, epochs, _ in with_ray[: _last_complete(with_ray) + 1]),
        min(value for _, status, _, value in with_ray if status == "complete"),
    )


def _last_complete(ends: list[tuple[Any, ...]]) -> int:
    return max(number for number, (_, status, _, _) in enumerate(ends) if status == "complete")
