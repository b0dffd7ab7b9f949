"""Plots, in MLflow's size and in Dagster's."""

from __future__ import annotations

import base64
import io
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from lakeops_assets.models import figures, inline_plots

CASES = {
    "many": 5000,
    "few": 12,
    "two": 2,
}


def sample(task: str, rows: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(rows)
    score = generator.random(rows)
    if task == "regression":
        return score * 1e6 + generator.normal(0, 1e5, rows), score * 1e6
    y = (generator.random(rows) < score).astype(float)
    y[:2] = 0, 1
    return y, score


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("rows", CASES.values(), ids=CASES)
def test_small_drawings_are_small_and_whole(task: str, rows: int) -> None:
    drawings = inline_plots(task, *sample(task, rows))  # type: ignore[arg-type]
    assert drawings
    for name, markdown in drawings.items():
        assert len(markdown) < 1000, "Dagster shows longer Markdown behind a button"
        encoded = markdown.partition("base64,")[2].rstrip(")")
        root = ET.fromstring(base64.b64decode(encoded))
        lines = root.findall("{http://www.w3.org/2000/svg}path")
        assert len(lines) == 2, name
        assert all("nan" not in line.attrib["d"] for line in lines)


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("rows", CASES.values(), ids=CASES)
def test_figures_render(task: str, rows: int) -> None:
    drawn = figures(task, *sample(task, rows))  # type: ignore[arg-type]
    expected = {"roc", "precision_recall", "calibration", "gain"}
    assert set(drawn) == (
        expected if task == "classification" else {"predicted_vs_actual", "residuals"}
    )
    for figure in drawn.values():
        out = io.BytesIO()
        figure.savefig(out, format="png", dpi=40)
        assert out.getvalue().startswith(b"\x89PNG")


def test_a_constant_score_can_be_drawn() -> None:
    y = np.array([0.0, 1.0, 0.0, 1.0])
    assert len(inline_plots("classification", y, np.full(4, 0.5))) == 3
    assert len(inline_plots("regression", np.ones(4), np.ones(4))) == 1
