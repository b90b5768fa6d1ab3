"""A search's figures as one page to move about in: Optuna's own, in plotly."""

from __future__ import annotations

import warnings

import optuna
import plotly.io
from optuna import visualization
from optuna.trial import TrialState

from orchestration.importance import Importance


def page(study: optuna.Study, metric: str, found: Importance) -> str:
    """One HTML page with Optuna's interactive figures; it carries its scripts and asks no network."""
    finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = [
            visualization.plot_optimization_history(study, target_name=metric),
            visualization.plot_intermediate_values(study),
            visualization.plot_slice(study, target_name=metric),
        ]
        if len(finished) > 1:
            made.append(visualization.plot_parallel_coordinate(study, target_name=metric))
    parts = [
        plotly.io.to_html(figure, full_html=False, include_plotlyjs="inline" if i == 0 else False)
        for i, figure in enumerate(made)
    ]
    words = "".join(f"<p>{line}</p>" for line in found.lines())
    head = f"<meta charset='utf-8'><title>{study.study_name}</title>"
    body = f"<body style='font-family: sans-serif'>{''.join(parts)}{words}</body>"
    return f"<!doctype html><html><head>{head}</head>{body}</html>"
