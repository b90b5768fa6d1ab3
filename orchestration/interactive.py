"""A search's figures as one page to move about in: Optuna's own, in plotly."""

from __future__ import annotations

import html
import warnings

import optuna
import plotly.io
from optuna import visualization
from optuna.trial import TrialState
from plotly import graph_objects

from orchestration.importance import Importance
from orchestration.plots import inner

STYLE = "body { font-family: sans-serif; margin: 1rem } section { overflow-x: auto }"  # many slices are wide


def page(study: optuna.Study, metric: str, found: Importance) -> str:
    """One HTML page with interactive figures; it carries its scripts and asks no network."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = _figures(study, metric, found)
    parts = [
        plotly.io.to_html(figure, full_html=False, include_plotlyjs="inline" if i == 0 else False)
        for i, figure in enumerate(made)
    ]
    sections = "".join(f"<section>{part}</section>" for part in parts)
    words = "".join(f"<p>{html.escape(line)}</p>" for line in found.lines())
    head = f"<meta charset='utf-8'><title>{html.escape(study.study_name)}</title><style>{STYLE}</style>"
    return f"<!doctype html><html><head>{head}</head><body>{sections}{words}</body></html>"


def _figures(study: optuna.Study, metric: str, found: Importance) -> list[graph_objects.Figure]:
    trials = study.get_trials(deepcopy=False)
    finished = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    curves = visualization.plot_intermediate_values(study)
    shown = [trial for trial in trials if trial.intermediate_values]
    if shown:
        curves.update_yaxes(range=inner(shown))
    curves.update_layout(xaxis_title="epoch", yaxis_title=f"{metric}, best so far")
    made = {
        "finished trials in their order": visualization.plot_optimization_history(study, target_name=metric),
        "learning curves, stopped trials too": curves,
        "finished trials by parameter": visualization.plot_slice(study, target_name=metric),
    }
    if len(finished) > 1:
        parallel = visualization.plot_parallel_coordinate(study, target_name=metric)
        made["finished trials over all parameters"] = parallel
    if found.shares:
        made[f"importance (fANOVA over {found.finished} finished trials, ± sd over refits)"] = _bars(found)
    return [figure.update_layout(title=title) for title, figure in made.items()]


def _bars(found: Importance) -> graph_objects.Figure:
    names, shares, spread = zip(*found.shares[::-1], strict=True)
    bars = graph_objects.Bar(x=shares, y=names, error_x={"array": spread}, orientation="h")
    return graph_objects.Figure(bars, layout={"height": 200 + 24 * len(names)})
