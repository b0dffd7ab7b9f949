"""The one resource that asset bodies receive: settings as Dagster configuration."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field, PrivateAttr

from lakeops_assets.lakehouse import Lakehouse, open_lakehouse
from lakeops_assets.lakehouse.meter import Meter
from lakeops_assets.settings import Prices, Settings, SparkOptions, spark_options

if TYPE_CHECKING:
    from lakeops_assets.models import ModelRegistry


class LakeopsResource(dg.ConfigurableResource):
    """Where the lakehouse and the model registry are."""

    project: str = Field(description="Project folder.")
    home: str = Field(description="State root: lakehouse, landing files and the MLflow store.")
    environment: str = Field(description="Catalog of every table and model, such as dev.")
    engine: str = Field(description="Engine that reads and writes tables.")
    products: str = Field(description="Further folder of products.")
    tracking_uri: str = Field(description="MLflow store.")
    dagster_home: str = Field(description="Folder of the Dagster instance.")
    actor: str = Field(description="Who acts, recorded with promotions.")
    mlflow_url: str = Field(description="Where the MLflow UI answers; used for links.")
    dagster_url: str = Field(description="Where the Dagster UI answers; used for links.")
    landing: str = Field(
        default="", description="Folder that producers drop files into; `landing` below `home`."
    )
    unity_catalog: str = Field(
        default="", description="Unity Catalog: databricks, or the address of a server."
    )
    price_cpu_hour: float = Field(
        default=Prices.cpu_hour, description="Price of one core for an hour."
    )
    price_gigabyte: float = Field(
        default=Prices.gigabyte, description="Price of reading or writing 1e9 bytes."
    )
    currency: str = Field(default=Prices.currency, description="Currency of the prices.")

    spark_remote: str = Field(default="", description="Spark Connect server; local when empty.")
    spark_memory: str = Field(default=SparkOptions.memory, description="Memory of a local Spark.")
    spark_conf: dict[str, str] = Field(default={}, description="Further settings of Spark.")
    spark_packages: list[str] = Field(
        default=[],
        description="What a local Spark has beside Delta: kafka, if a product needs it.",
    )

    _meter: Meter = PrivateAttr(default_factory=Meter)

    @classmethod
    def from_settings(cls, settings: Settings, packages: Sequence[str] = ()) -> LakeopsResource:
        """Return the resource that the settings describe.

        Args:
            settings: The settings.
            packages: What a local Spark needs beside Delta, for the products that are loaded.
        """
        return cls(
            project=str(settings.project),
            home=str(settings.home),
            environment=settings.environment,
            engine=settings.engine,
            products=str(settings.products),
            tracking_uri=settings.tracking_uri,
            dagster_home=str(settings.dagster_home),
            actor=settings.actor,
            mlflow_url=settings.mlflow_url,
            dagster_url=settings.dagster_url,
            landing=str(settings.landing_folder or ""),
            unity_catalog=settings.unity_catalog,
            price_cpu_hour=settings.prices.cpu_hour,
            price_gigabyte=settings.prices.gigabyte,
            currency=settings.prices.currency,
            spark_remote=settings.spark.remote,
            spark_memory=settings.spark.memory,
            spark_conf=dict(settings.spark.confs),
            spark_packages=list(packages),
        )

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:
        """Begin to count what a run uses."""
        self._meter = Meter()

    @property
    def meter(self) -> Meter:
        """What counts the usage of a run; the steps of a run share it."""
        return self._meter

    def settings(self) -> Settings:
        """Return the settings that the domain rooms take."""
        return Settings(
            project=Path(self.project),
            home=Path(self.home),
            environment=self.environment,
            engine=self.engine,
            products=Path(self.products),
            tracking_uri=self.tracking_uri,
            dagster_home=Path(self.dagster_home),
            actor=self.actor,
            mlflow_url=self.mlflow_url,
            dagster_url=self.dagster_url,
            prices=Prices(self.price_cpu_hour, self.price_gigabyte, self.currency),
            spark=replace(
                spark_options(),  # what else there is to say is of the machine that a step runs on
                remote=self.spark_remote,
                memory=self.spark_memory,
                confs=tuple(self.spark_conf.items()),
                packages=tuple(self.spark_packages),
            ),
            landing_folder=Path(self.landing) if self.landing else None,
            unity_catalog=self.unity_catalog,
        )

    def lakehouse(self, engine: str = "") -> Lakehouse:
        """Return the lakehouse, on another engine than that of the settings when it is named."""
        settings = self.settings()
        if engine:
            settings = replace(settings, engine=engine)
        return open_lakehouse(settings, meter=self._meter)

    def registry(self, product: str, model: str) -> ModelRegistry:
        """Return the registry of one model, `<catalog>.<product>.<model>`."""
        from lakeops_assets.models import ModelRegistry, artifact_root

        return ModelRegistry(
            tracking_uri=self.tracking_uri,
            artifact_root=artifact_root(self.tracking_uri),
            registered_name=f"{self.environment}.{product}.{model}",
            experiment=self.settings().experiment(product),
        )

    def now(self) -> datetime:
        """Return the present; the only clock of the asset graph."""
        return datetime.now(UTC)

    def state_id(self) -> str:
        """Return an identifier of this state root and environment.

        Materializations carry it, so that what Dagster remembers of a state root that was deleted
        or is another one is not taken for the present.
        """
        path = Path(self.home) / "state-id"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_name(f".state-id-{uuid.uuid4().hex}")
            fresh.write_text(uuid.uuid4().hex)
            try:
                # A hard link fails where a file exists: of two processes that start at once, one
                # identifier wins and both read it.
                path.hardlink_to(fresh)
            except FileExistsError:
                pass
            finally:
                fresh.unlink()
        return f"{path.read_text().strip()}.{self.environment}"
