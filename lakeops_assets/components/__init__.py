"""YAML types with their assets, checks, jobs and sensors.

The only room that knows both Dagster and the domain rooms. An asset body reads, calls one
function of a domain room and returns what it found as metadata.
"""

from lakeops_assets.components.batch_scores import BatchScores as BatchScores
from lakeops_assets.components.bronze_table import BronzeTable as BronzeTable
from lakeops_assets.components.budget import Budget as Budget
from lakeops_assets.components.databricks import Databricks as Databricks
from lakeops_assets.components.feature_table import FeatureTable as FeatureTable
from lakeops_assets.components.grants import Grants as Grants
from lakeops_assets.components.kpi_monitor import KpiMonitor as KpiMonitor
from lakeops_assets.components.maintenance import Maintenance as Maintenance
from lakeops_assets.components.monitor import Monitor as Monitor
from lakeops_assets.components.point_in_time_features import (
    PointInTimeFeatures as PointInTimeFeatures,
)
from lakeops_assets.components.tabular_model import TabularModel as TabularModel
