"""Feature tables: one row per key, made by a SELECT, kept current by MERGE.

Owns how a feature table is computed, which of its rows a change upstream can have touched, and how
well its features are covered.
"""

from lakeops_assets.features.coverage import Coverage, CoverageSpec, measure_coverage
from lakeops_assets.features.refresh import FeatureResult, inputs_of, refresh_features
from lakeops_assets.features.spec import FeatureSpec, FeatureSpecError, Refresh

__all__ = [
    "Coverage",
    "CoverageSpec",
    "FeatureResult",
    "FeatureSpec",
    "FeatureSpecError",
    "Refresh",
    "inputs_of",
    "measure_coverage",
    "refresh_features",
]
