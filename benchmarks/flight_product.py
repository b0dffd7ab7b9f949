"""The flight product as its YAML declares it, for benchmarks that drive it without Dagster."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from lakeops_assets import components, ingest, settings
from lakeops_assets.features import FeatureSpec
from lakeops_assets.features.point_in_time import PointInTimeSpec
from lakeops_assets.lakehouse import Lakehouse, TableName, open_lakehouse
from lakeops_assets.models import ModelRegistry, ModelSpec

PRODUCT = "flight_delay"
FOLDER = Path(__file__).parents[1] / "lakeops_assets" / "defs" / PRODUCT


def declared(kind: str) -> list[Any]:
    """Return the components of one type."""
    documents = yaml.safe_load_all((FOLDER / "defs.yaml").read_text())
    made = getattr(components, kind)
    return [made(**d["attributes"]) for d in documents if d["type"].endswith(f".{kind}")]


class Product:
    """The product in a state root of its own."""

    def __init__(self, home: Path) -> None:
        self.config = replace(settings.load({}), home=home)
        self.lakehouse: Lakehouse = open_lakehouse(self.config)
        self.bronze = [b.ingest_spec(PRODUCT, self.config) for b in declared("BronzeTable")]
        [features] = declared("PointInTimeFeatures")
        self.features: PointInTimeSpec = features.point_in_time_spec(PRODUCT, "dev")
        self.training, self.predictions = (
            FeatureSpec(
                TableName("dev", PRODUCT, table.table),
                (FOLDER / table.sql).read_text(),
                tuple(table.primary_key),
                table.refresh,
            )
            for table in declared("FeatureTable")
        )
        [model] = declared("TabularModel")
        self.model: ModelSpec = model.model_spec(PRODUCT)

    def ingest(self, now: datetime) -> int:
        """Ingest what has landed and return the number of new rows."""
        return sum(ingest.ingest(self.lakehouse, spec, now=now).rows for spec in self.bronze)

    def registry(self) -> ModelRegistry:
        """Return the model registry of the state root."""
        return ModelRegistry(
            tracking_uri=f"sqlite:///{self.config.mlflow_root}/mlflow.db",
            artifact_root=self.config.mlflow_root / "artifacts",
            registered_name=f"dev.{PRODUCT}.model",
            experiment=f"dev.{PRODUCT}",
        )
