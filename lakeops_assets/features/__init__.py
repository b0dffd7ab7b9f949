"""Feature tables: one row per key, made by a SELECT, kept current by MERGE.

Owns how a feature table is computed, which of its rows a change upstream can have touched, and
what a row may see of the past; `point_in_time` has the latter.
"""

from lakeops_assets.features.refresh import FeatureResult, refresh_features
from lakeops_assets.features.spec import FeatureSpec, FeatureSpecError, Refresh

__all__ = ["FeatureResult", "FeatureSpec", "FeatureSpecError", "Refresh", "refresh_features"]
