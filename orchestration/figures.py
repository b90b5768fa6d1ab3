"""Figures of a search in its study folder: PNGs to look at and print, one page to move about in."""

from __future__ import annotations

import io
from collections.abc import Callable

import matplotlib
from matplotlib.figure import Figure
from optuna.trial import TrialState

from orchestration import plots
from orchestration.display import displayed
from orchestration.folder import StudyFolder
from orchestration.importance import Importance
from orchestration.interactive import page
from orchestration.records import FIGURES


def draw(folder: StudyFolder, found: Importance) -> tuple[list[str], list[str]]:
    """Write every figure that the study's trials allow; one that fails does not keep the others away.

    Returns their names, relative to the study folder, and a line for each that failed. A stopped trial's
    early value is never drawn as a final one: it appears in learning curves alone.
    """
    study, metric = displayed(folder), folder.study.objective.metric
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if not finished:
        return [], []
    makers: dict[str, Callable[[], bytes]] = {
        "history.png": lambda: _png(plots.history(finished, metric, study.direction)),
        "learning_curves.png": lambda: _png(plots.curves(study, metric)),
        "slice.png": lambda: _png(plots.slices(finished, metric)),
    }
    if len(finished) > 1:
        makers["parallel_coordinates.png"] = lambda: _png(plots.parallel(finished, metric, study.direction))
    if found.shares:
        makers["importance.png"] = lambda: _png(plots.shares(found))
    makers["search.html"] = lambda: page(study, metric, found).encode()
    names, problems = [], []
    with matplotlib.rc_context({"axes.spines.top": False, "axes.spines.right": False, "font.size": 9}):
        for name, make in makers.items():
            try:
                folder.storage.put(f"{FIGURES}/{name}", make())
                names.append(f"{FIGURES}/{name}")
            except Exception as error:
                problems.append(f"{FIGURES}/{name} failed: {error}")
    return names, problems


def _png(figure: Figure) -> bytes:
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=150, bbox_inches="tight")
    return data.getvalue()
