"""Which assets of a product are made on Databricks, and what that may cost."""

from collections.abc import Iterator
from typing import Any, Literal

import dagster as dg
from dagster._config import ConfigTypeKind
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph as AssetGraph
from dagster._core.definitions.metadata.metadata_value import ObjectMetadataValue
from pydantic import Field

from lakeops_assets.components.databricks_run import WITHIN, run_on_databricks
from lakeops_assets.components.names import LAYER, ON_REQUEST, STATE, digest
from lakeops_assets.components.rebuilt import with_assets
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.components.scaffold import ExampleScaffolder
from lakeops_assets.databricks import (
    Compute,
    CostEnvelope,
    NodeType,
    RemoteSpec,
    RemoteSpecError,
    apply_policy,
    connect,
    plan_policy,
    stored_policy,
)

# Metadata of the policy's asset: the jobs of the product, for whoever has the definitions.
RUNS_ON = "lakeops/runs_on"
# Dagster shows three kinds of an asset and refuses a fourth.
_MOST_KINDS = 3


class NodeTypeModel(dg.Model, dg.Resolvable):
    """What a machine of one type takes in an hour."""

    dbus_per_hour: float = Field(gt=0, description="Databricks units, from the vendor's list.")
    money_per_hour: float | None = Field(
        default=None,
        ge=0,
        description="Price of the machine, from the cloud's list; needed where `money_per_run` "
        "limits a run. 0 when somebody else pays for it.",
    )


class EnvelopeModel(dg.Model, dg.Resolvable):
    """What one run may use; compiled to a cluster policy of that name."""

    name: str = Field(description="Name of the cluster policy in the workspace.")
    dbus_per_hour: float = Field(
        gt=0, description="Most units that a cluster with its driver takes in an hour."
    )
    node_types: dict[str, NodeTypeModel] = Field(
        min_length=1, description="Machines that may be used -> what they take in an hour."
    )
    max_workers: int = Field(
        ge=0, description="Most workers of a cluster; 0 for machines that work alone."
    )
    hours_per_run: float = Field(
        gt=0, description="Longest time of a run; the workspace ends it then."
    )
    money_per_run: float | None = Field(
        default=None, gt=0, description="Most that a run may cost; not limited when left out."
    )
    money_per_dbu: float | None = Field(
        default=None,
        gt=0,
        description="Price of a unit on a cluster; needed where `money_per_run` limits a run.",
    )
    money_per_serverless_dbu: float | None = Field(
        default=None, ge=0, description="Price of a serverless unit; the same when left out."
    )
    serverless_dbus_per_hour: float | None = Field(
        default=None,
        gt=0,
        description="Units that a serverless job is taken to use in an hour. Left out, no "
        "serverless job is allowed, since nothing can be said of its cost.",
    )
    spot: bool = Field(default=True, description="Whether machines are spot machines.")
    cloud: Literal["aws", "azure", "gcp"] = Field(
        default="aws", description="Cloud of the workspace."
    )
    tags: dict[str, str] = Field(
        default_factory=dict, description="Tags that every cluster carries."
    )

    def spec(self) -> CostEnvelope:
        """Return the envelope."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        nodes = {
            name: NodeType(node.dbus_per_hour, node.money_per_hour)
            for name, node in self.node_types.items()
        }
        return CostEnvelope(**{**fields, "node_types": nodes})


class ComputeModel(dg.Model, dg.Resolvable):
    """What one asset runs on."""

    serverless: bool = Field(default=False, description="Whether the workspace brings machines.")
    node_type: str = Field(default="", description="Type of the machines of a cluster.")
    driver_node_type: str = Field(default="", description="Type of the driver, if another.")
    workers: int = Field(
        default=0, ge=0, description="Workers beside the driver; 0 for one machine."
    )
    hours: float | None = Field(
        default=None, gt=0, description="Longest time; that of the envelope when left out."
    )
    spark_version: str = Field(
        default=Compute.spark_version, description="Databricks runtime of a cluster."
    )
    environment_version: str = Field(
        default=Compute.environment_version, description="Version of the serverless environment."
    )

    def spec(self) -> Compute:
        """Return the compute."""
        return Compute(**{name: getattr(self, name) for name in type(self).model_fields})


@dg.scaffold_with(ExampleScaffolder)
class Databricks(dg.Component, dg.Model, dg.Resolvable):
    """Makes some assets of the product as Databricks jobs, within a cost envelope.

    The same code runs there: the job looks the asset up by its key and makes it. Metadata, checks,
    tags and cost come back to the graph. A run beyond the envelope is refused before it is
    submitted, and by the cluster policy that the envelope is compiled to. Needs the extra
    `databricks`; docs/databricks.md says what was tried and what was not.
    """

    volume: str = Field(
        description="Volume for contexts and messages of runs, /Volumes/<catalog>/<schema>/<name>."
    )
    wheel: str = Field(description="Wheel of this package, on a volume.")
    home: str = Field(
        description="`LAKEOPS_HOME` of the jobs: the path there of the state root that this "
        "machine uses too. Tables need hard links there."
    )
    runs_on: dict[str, ComputeModel] = Field(
        min_length=1, description="Table or model -> what its job runs on."
    )
    envelope: EnvelopeModel = Field(description="What a run may cost.")
    variables: dict[str, str] = Field(
        default_factory=dict,
        description="Further environment of the jobs, such as `MLFLOW_TRACKING_URI` or "
        "`LAKEOPS_DEFS`. Anybody who may see a run sees them, so no secrets.",
    )
    dependencies: list[str] = Field(
        default_factory=list, description="Further packages of the jobs, as requirements."
    )
    poll_seconds: float = Field(
        default=5.0, gt=0, description="How often the workspace is asked how a run is."
    )
    product: str = Field(
        default="", description="Product, which is schema and group; the folder's name when empty."
    )

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """Return how the type is shown in the registry."""
        return dg.ComponentTypeSpec(tags=["databricks", "costs"])

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return the cluster policy as an asset; `with_databricks` moves the assets."""
        spec = RemoteSpec(
            product=self.product or context.path.name,
            volume=self.volume.rstrip("/"),
            wheel=self.wheel,
            variables={"LAKEOPS_HOME": self.home, **self.variables},
            envelope=self.envelope.spec(),
            runs_on={name: compute.spec() for name, compute in self.runs_on.items()},
            poll_seconds=self.poll_seconds,
            dependencies=tuple(self.dependencies),
        )
        key = dg.AssetKey([spec.product, "cluster_policy"])

        @dg.asset(
            key=key,
            group_name=spec.product,
            kinds={"databricks"},
            description=f"Cluster policy `{spec.envelope.name}`: the jobs of {spec.product} "
            "within their envelope. Materialize it to write it to the workspace.",
            code_version=digest(spec.envelope),
            metadata={LAYER: "costs", ON_REQUEST: True, RUNS_ON: ObjectMetadataValue(spec)},
        )
        def cluster_policy(lakeops: LakeopsResource) -> dg.MaterializeResult:
            client = connect()
            plan = plan_policy(spec.envelope, stored_policy(client, spec.envelope.name))
            return dg.MaterializeResult(
                metadata={
                    "policy_id": apply_policy(client, plan),
                    "action": plan.action,
                    "changed": [change.attribute for change in plan.changes],
                    "definition": dg.MetadataValue.json(dict(plan.definition)),
                },
                tags={STATE: lakeops.state_id()},
            )

        return dg.Definitions(assets=[cluster_policy])


def with_databricks(definitions: dg.Definitions) -> dg.Definitions:
    """Return definitions in which the assets that products name are made as Databricks jobs.

    Raises:
        RemoteSpecError: A product names an asset that it does not have.
    """
    assets = list(definitions.assets or [])
    specs = [s for a in assets if isinstance(a, dg.AssetsDefinition) for s in _specs_of(a)]
    if not specs:
        return definitions
    chosen = {
        dg.AssetKey([spec.product, *name.split("/")]): (spec, compute)
        for spec in specs
        for name, compute in spec.runs_on.items()
    }
    moved = [_moved(asset, chosen) for asset in assets]
    if chosen:
        key, (spec, _) = next(iter(chosen.items()))
        there = [
            k.path[-1]
            for a in assets
            if isinstance(a, dg.AssetsDefinition) and a.is_executable and not list(_specs_of(a))
            for k in sorted(a.keys)
            if k.path[0] == spec.product
        ]
        raise RemoteSpecError(
            f"runs_on of {spec.product} names {key.path[-1]}, which it does not make; "
            f"it makes: {', '.join(there) or 'nothing'}"
        )
    return with_assets(definitions, moved)


def remote_specs(graph: AssetGraph) -> list[RemoteSpec]:
    """Return what products say about their jobs."""
    found = (graph.get(key).metadata.get(RUNS_ON) for key in graph.toposorted_asset_keys)
    return [spec for value in found for spec in _spec(value)]


def _specs_of(asset: dg.AssetsDefinition) -> list[RemoteSpec]:
    return [found for spec in asset.specs for found in _spec(spec.metadata.get(RUNS_ON))]


def _spec(value: object) -> Iterator[RemoteSpec]:
    found = value.instance if isinstance(value, ObjectMetadataValue) else None
    if isinstance(found, RemoteSpec):
        yield found


def _moved(asset: Any, chosen: dict[dg.AssetKey, tuple[RemoteSpec, Compute]]) -> Any:
    """Return an asset with its body elsewhere, and take its keys from those that are chosen."""
    if not isinstance(asset, dg.AssetsDefinition) or not asset.is_executable:
        return asset
    wanted = [chosen.pop(key) for key in sorted(asset.keys) if key in chosen]
    if not wanted:
        return asset
    spec, compute = wanted[0]
    made = ", ".join(sorted(key.to_user_string() for key in asset.keys))
    if any(other != wanted[0] for other in wanted):
        raise RemoteSpecError(f"{made} are made together, so they run on the same compute")
    # What a job is not told it would not do: it would make the asset, but another one.
    if _configured(asset) or any(s.partitions_def for s in asset.specs):
        raise RemoteSpecError(f"{made} has partitions or takes configuration, which no job is told")

    @dg.multi_asset(
        name=asset.op.name,
        specs=[_named(s, compute) for s in asset.specs],
        check_specs=[
            *asset.check_specs,
            dg.AssetCheckSpec(
                WITHIN,
                asset=min(asset.keys),
                description=f"The job stayed within the envelope `{spec.envelope.name}`.",
            ),
        ],
        can_subset=asset.can_subset,
        op_tags=asset.op.tags,
        retry_policy=asset.op.retry_policy,
        pool=asset.op.pool,
    )
    def elsewhere(context: dg.AssetExecutionContext, lakeops: LakeopsResource) -> Any:
        yield from run_on_databricks(context, lakeops, spec, compute)

    return elsewhere


def _configured(asset: dg.AssetsDefinition) -> bool:
    schema = asset.op.config_schema
    config = schema.config_type if schema else None
    if config is None or config.kind == ConfigTypeKind.ANY:
        return False
    return bool(getattr(config, "fields", True))


def _named(spec: dg.AssetSpec, compute: Compute) -> dg.AssetSpec:
    metadata = {**spec.metadata, "runs_on": f"Databricks, {compute}"}
    if len(spec.kinds) >= _MOST_KINDS:
        return spec.replace_attributes(metadata=metadata)
    return spec.replace_attributes(metadata=metadata, kinds={*spec.kinds, "databricks"})
