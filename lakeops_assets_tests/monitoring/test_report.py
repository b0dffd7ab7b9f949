"""A page about a monitor: what it says, how large it is, and that it needs nothing else."""

from __future__ import annotations

import json
import math
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from command_line import lakeops
from hypothesis import given
from hypothesis import strategies as st

from lakeops_assets.lakehouse import TableName
from lakeops_assets.monitoring.report import Distribution, Line, Report, render
from lakeops_assets.monitoring.report.marks import distribution, sparkline, timeline

TABLE = TableName("dev", "shop", "scores")
WEEKS = tuple(datetime(2024, 1, 1, tzinfo=UTC) + timedelta(weeks=i) for i in range(53))
ANY = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True))


def a_report(columns: int = 25) -> Report:
    values = {w: 0.1 + 0.05 * math.sin(i) for i, w in enumerate(WEEKS)}
    drift = tuple(
        Line(f"column {i}", values, threshold=0.2, marked=frozenset(WEEKS[5:7]), note="PSI")
        for i in range(columns)
    )
    shapes = tuple(
        Distribution(
            f"column {i}",
            "psi 0.3, significant",
            1.5,
            tuple(float(x) for x in range(1000)),
            tuple(float(x) / 2 for x in range(1000)),
        )
        if i % 2
        else Distribution(
            f"column {i}", "", 0.0, now_items={"a": 0.6, "b": 0.4}, base_items={"a": 0.5, "c": 0.5}
        )
        for i in range(columns)
    )
    quality = (Line("roc_auc_score", values, dict.fromkeys(WEEKS, 0.8)),)
    return Report(
        TABLE, "Two alerts.", ("x drifted",), WEEKS, "1 week", 1234, 7, "dev.shop.baseline",
        quality, drift, shapes, {WEEKS[3]: "1", WEEKS[30]: "2"}, 0,
    )  # fmt: skip


def pictures(page: str) -> list[ET.Element]:
    return [ET.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]


def test_the_page_is_small_whole_and_the_same_each_time() -> None:
    page = render(a_report())
    assert page == render(a_report())
    assert len(page.encode()) < 300_000
    assert "<script" not in page
    assert not re.search(r"(src|href)\s*=|url\(|@import|https?://", page)
    assert len(pictures(page)) == 1 + 25 + 25
    assert page.index("Two alerts.") < page.index("x drifted") < page.index("over time")
    assert "an estimate" in page


def test_a_page_that_would_be_too_large_says_what_is_left_out() -> None:
    page = render(a_report(400))
    assert len(page.encode()) < 300_000
    assert "columns that drifted least are not shown" in page


def test_a_column_is_named_and_does_not_become_markup() -> None:
    report = a_report(2)
    name = "<script>alert('x')</script> & \"co\""
    line = replace(report.drift[0], name=name)
    shape = replace(report.distributions[0], column=name, now_items={name: 1.0})
    page = render(replace(report, drift=(line,), distributions=(shape,), alerts=(name,)))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert pictures(page)


def contrast(one: str, other: str) -> float:
    """Contrast of two colours. Source: WCAG 2.2, relative luminance."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_texts_and_lines_can_be_read_in_light_and_dark() -> None:
    schemes = re.findall(r"--paper: .*?}", render(a_report(1)), re.DOTALL)
    assert len(schemes) == 2
    for scheme in schemes:
        colours = dict(re.findall(r"--(\w+): (#\w{6})\b", scheme))
        for name in ("ink", "quiet", "alarm"):
            assert contrast(colours[name], colours["paper"]) >= 4.5, name
        for name in ("line", "base"):
            assert contrast(colours[name], colours["paper"]) >= 3, name


@given(st.lists(ANY, min_size=1, max_size=20), st.lists(ANY, max_size=20), ANY)
def test_every_coordinate_is_inside_the_picture(
    values: list[float | None], guesses: list[float | None], threshold: float | None
) -> None:
    windows = WEEKS[: len(values)]
    guessed = dict(zip(windows, guesses, strict=False))
    line = Line(
        "x", dict(zip(windows, values, strict=True)), guessed, threshold, frozenset(windows)
    )
    shape = Distribution(
        "x", "", 0.0, tuple(v for v in values if v is not None), tuple(g for g in guesses if g)
    )
    for svg in (timeline(line, windows, {windows[-1]: "2"}), distribution(shape)):
        if not svg:
            continue
        found = ET.fromstring(svg)
        _, _, width, height = map(float, found.attrib["viewBox"].split())
        drawn = " ".join(e.attrib.get("d", "") for e in found.iter())
        assert "nan" not in drawn
        assert "inf" not in drawn
        for x, y in re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", drawn):
            assert 0 <= float(x) <= width
            assert -1 <= float(y) <= height
    assert len(sparkline(values)) == len(values)


def test_the_command_writes_the_page_of_a_finished_product(finished: Path, tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    done = lakeops(finished, "report", "churn", "--output", str(target), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    page = target.read_text()
    assert said["size"] == len(page.encode()) < 300_000
    assert said["report"]["verdict"] in page
    assert "KPI roc_auc" in page
    assert "prediction_proba" in page
    published = finished / "state" / "reports" / "churn" / "scores.html"
    assert published.read_text() == page


def test_triage_of_a_finished_product(finished: Path) -> None:
    done = lakeops(finished, "triage", "churn", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert said["triage"]["looked_at"]
    # The sample ends here: labels go on for two weeks after the last snapshot of the customers.
    [first, *_] = said["triage"]["suspects"]
    assert (first["move"]["where"]["table"]["table"], first["move"]["kind"]) == (
        "customers",
        "source stopped",
    )


@pytest.mark.parametrize("command", ["report", "triage"])
def test_a_product_without_a_monitor_is_a_sentence(finished: Path, command: str) -> None:
    done = lakeops(finished, command, "nowhere")
    assert done.returncode == 2
    assert "no product 'nowhere' has a monitor; there are: churn, flight_delay" in done.stderr
