"""Curves of a model: full figures for MLflow, and drawings of a few hundred bytes for Dagster.

Dagster shows Markdown inline when it has fewer than 1,000 characters, so each small drawing stays
well below that as a data URI. Colours are readable on a light and on a dark page.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lakeops_assets.models.spec import Task

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, GREY = "#4878d0", "#8c8c8c"
POINTS = 24
Curve = tuple["np.ndarray", "np.ndarray"]


def figures(task: Task, y: np.ndarray, score: np.ndarray) -> dict[str, Figure]:
    """Return the figures of a model by name.

    Args:
        task: Which figures.
        y: Labels, shape `(n,)`.
        score: Probabilities or predicted numbers, shape `(n,)`.
    """
    if task == "regression":
        return {
            "predicted_vs_actual": _scatter(y, score, "actual", "predicted", diagonal=True),
            "residuals": _scatter(score, y - score, "predicted", "actual - predicted"),
        }
    drawn = {
        "roc": _line(roc(y, score), "false positive rate", "true positive rate"),
        "precision_recall": _line(precision_recall(y, score), "recall", "precision", start=None),
        "calibration": _line(calibration(y, score), "predicted probability", "share of positives"),
        "gain": _line(gain(y, score), "share of rows, best first", "share of positives found"),
    }
    for figure in drawn.values():
        figure.axes[0].set(xlim=(0, 1), ylim=(0, 1.02))
    return drawn


def inline_plots(task: Task, y: np.ndarray, score: np.ndarray) -> dict[str, str]:
    """Return small drawings as Markdown by name."""
    if task == "regression":
        order = y.argsort()[:: max(1, len(y) // 60)]
        low, high = min(y.min(), score.min()), max(y.max(), score.max())
        scale = (high - low) or 1.0
        x, z = (y[order] - low) / scale, (score[order] - low) / scale
        return {"predicted_vs_actual": _markdown("predicted against actual", _dots(x, z))}
    return {
        "roc_curve": _markdown("ROC", _path(*roc(y, score))),
        "calibration_curve": _markdown("calibration", _path(*calibration(y, score))),
        "gain_curve": _markdown("cumulative gain", _path(*gain(y, score))),
    }


def roc(y: np.ndarray, score: np.ndarray) -> Curve:
    """Return false and true positive rates at every threshold."""
    from sklearn.metrics import roc_curve

    false, true, _ = roc_curve(y, score)
    return false, true


def precision_recall(y: np.ndarray, score: np.ndarray) -> Curve:
    """Return recalls and precisions at every threshold."""
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(y, score)
    return recall[::-1], precision[::-1]


def calibration(y: np.ndarray, score: np.ndarray, bins: int = 10) -> Curve:
    """Return mean probability and share of positives in bins of equal mass."""
    import numpy as np

    parts = np.array_split(np.argsort(score, kind="stable"), min(bins, len(y)))
    return (
        np.array([score[part].mean() for part in parts]),
        np.array([y[part].mean() for part in parts]),
    )


def gain(y: np.ndarray, score: np.ndarray) -> Curve:
    """Return the share of rows, best scored first, and the share of positives in them."""
    import numpy as np

    hits = np.concatenate([[0], y[np.argsort(-score, kind="stable")].cumsum()])
    return np.arange(len(y) + 1) / len(y), hits / max(hits[-1], 1)


def _line(
    curve: Curve, x_label: str, y_label: str, start: tuple[float, float] | None = (0, 0)
) -> Figure:
    figure, axes = _axes(x_label, y_label)
    if start is not None:
        axes.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle="--")
    marker = "o" if len(curve[0]) <= 20 else None
    axes.plot(*curve, color=BLUE, linewidth=2, marker=marker)
    return figure


def _scatter(
    x: np.ndarray, y: np.ndarray, x_label: str, y_label: str, *, diagonal: bool = False
) -> Figure:
    figure, axes = _axes(x_label, y_label)
    axes.scatter(x, y, s=8, alpha=0.5, color=BLUE)
    if diagonal:
        ends = [min(x.min(), y.min()), max(x.max(), y.max())]
        axes.plot(ends, ends, color=GREY, linewidth=1, linestyle="--")
    else:
        axes.axhline(0, color=GREY, linewidth=1, linestyle="--")
    return figure


def _axes(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(xlabel=x_label, ylabel=y_label)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _path(x: np.ndarray, y: np.ndarray) -> str:
    import numpy as np

    at = np.unique(np.linspace(0, len(x) - 1, min(POINTS, len(x))).round().astype(int))
    if len(x) > POINTS:  # evenly along x, where a curve of thresholds has most points in a corner
        at = np.unique(np.searchsorted(x, np.linspace(0, 1, POINTS)).clip(0, len(x) - 1))
    line = "L".join(f"{x[i] * 100:.0f} {100 - y[i] * 100:.0f}" for i in at)
    return _svg(f'<path d="M{line}" fill="none" stroke="{BLUE}" stroke-width="2"/>')


def _dots(x: Sequence[float], y: Sequence[float]) -> str:
    # A dot is a line of no length with a round cap: fewer bytes than a circle.
    dots = "".join(f"M{a * 100:.0f} {100 - b * 100:.0f}h0" for a, b in zip(x, y, strict=True))
    style = f'stroke="{BLUE}" stroke-width="2" stroke-linecap="round"'
    return _svg(f'<path d="{dots[:420].rpartition("M")[0]}" {style}/>')


def _svg(inside: str) -> str:
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="150" height="150" viewBox="-2 -2 104 104">'
        f'<path d="M0 0V100H100M0 100L100 0" fill="none" stroke="{GREY}" stroke-width=".5"/>'
        f"{inside}</svg>"
    )


def _markdown(title: str, svg: str) -> str:
    encoded = base64.b64encode(svg.encode()).decode()
    return f"![{title}](data:image/svg+xml;base64,{encoded})"
