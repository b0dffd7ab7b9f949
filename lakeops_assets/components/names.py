"""Names that components share: keys, tags and table names."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import dagster as dg

from lakeops_assets.lakehouse import TableName

# Tags and metadata keys that Dagster's own UI reads; kept here because not all are documented.
TABLE_NAME = "dagster/table_name"
ROW_COUNT = "dagster/row_count"
SIZE_BYTES = "dagster/size_bytes"
COLUMN_SCHEMA = "dagster/column_schema"
URI = "dagster/uri"

# Tag of every materialization: the state root that it was made in.
STATE = "lakeops/state"
# Tag of a champion's materialization: the last event of its model in the ledger.
LEDGER = "lakeops/ledger"
# Metadata of asset specs: what `lakeops status` and the refresh sensor need to know of them.
LAYER = "lakeops/layer"
# Metadata of what is made of a registered model: its name, `<catalog>.<product>.<model>`.
REGISTERED_NAME = "lakeops/registered_name"
# Metadata of an asset that only its schedule, a button or a command starts.
ON_REQUEST = "lakeops/on_request"
# What `lakeops forget` needs to know: keys, how features follow their inputs, and landing files.
PRIMARY_KEY = "lakeops/primary_key"
REFRESH = "lakeops/refresh"
LANDING = "lakeops/landing"
FILES = "lakeops/files"


@dataclass(frozen=True)
class ModelNames:
    """Asset keys of one model; the product's only model is called `model`.

    Attributes:
        product: Product, which is also the schema.
        model: Name of the model within the product.
    """

    product: str
    model: str

    def _key(self, table: str) -> dg.AssetKey:
        prefix = "" if self.model == "model" else f"{self.model}_"
        return dg.AssetKey([self.product, f"{prefix}{table}"])

    @property
    def trained(self) -> dg.AssetKey:
        """Key of the trained model."""
        return dg.AssetKey([self.product, self.model])

    @property
    def version(self) -> dg.AssetKey:
        """Key of the registered version."""
        return self._key("model_version")

    @property
    def champion(self) -> dg.AssetKey:
        """Key of the champion."""
        return self._key("champion")

    @property
    def baseline(self) -> dg.AssetKey:
        """Key of the table that monitors compare with."""
        return self._key("baseline")

    def registered(self, environment: str) -> str:
        """Return the registered name in MLflow."""
        return f"{environment}.{self.product}.{self.model}"


def asset_key(name: str, product: str) -> dg.AssetKey:
    """Return the asset key of a table named with one, two or three parts."""
    parts = name.split(".")
    return dg.AssetKey([product, *parts] if len(parts) == 1 else parts[-2:])


def table_name(key: dg.AssetKey, environment: str) -> TableName:
    """Return the table that an asset writes."""
    return TableName(environment, *key.path)


def digest(*parts: object) -> str:
    """Return a short hash of the text of some values, for code versions and run keys."""
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:16]
