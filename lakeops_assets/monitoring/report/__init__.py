"""A monitor as one page: verdict, time lines, distributions; self-contained, without a script.

Owns what the page says, read from the metric tables alone, and how it looks.
"""

from lakeops_assets.monitoring.report.page import render
from lakeops_assets.monitoring.report.read import read_report
from lakeops_assets.monitoring.report.value import Distribution, Line, Report

__all__ = ["Distribution", "Line", "Report", "read_report", "render"]
