"""A bundle from facts about products: resources, variables, targets and the policies beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lakeops_assets.databricks.bundle.facts import (
    BundleFacts,
    Granted,
    Model,
    Monitored,
    Product,
)
from lakeops_assets.databricks.bundle.jobs import STATE, job, policy_variable
from lakeops_assets.databricks.policy import policy_definition

SYSTEM = "lakeops"
CATALOG = "${var.catalog}"
_METRIC = "CUSTOM_METRIC_TYPE_"
_SPARK_JSON = {"bigint": "long"}


@dataclass(frozen=True)
class Bundle:
    """A bundle.

    Attributes:
        config: What `databricks.yml` holds.
        policies: Name of a cluster policy -> its definition. A bundle cannot hold one, so each is a
            file beside it.
        notes: What is declared and cannot be said in a bundle.
    """

    config: Mapping[str, Any]
    policies: Mapping[str, Mapping[str, Any]]
    notes: tuple[str, ...] = ()


def bundle(facts: BundleFacts) -> Bundle:
    """Return the bundle of some products; equal facts make an equal bundle.

    Raises:
        BundleError: A job cannot be made of what is declared.
        BeyondEnvelopeError: What an asset runs on is beyond its product's envelope.
    """
    products = sorted(facts.products, key=lambda product: product.name)
    resources: dict[str, dict[str, Any]] = {
        "jobs": {product.name: job(facts, product) for product in products},
        "schemas": _schemas(products),
        "volumes": _volumes(),
        "registered_models": _named(_models(p, m) for p in products for m in _sorted(p.models)),
        "experiments": {p.name: _experiment(p) for p in products if p.models},
        "model_serving_endpoints": _named(
            _endpoint(p, m) for p in products for m in _sorted(p.models)
        ),
        "quality_monitors": _named(
            _monitor(p, m) for p in products for m in sorted(p.monitors, key=lambda m: m.table)
        ),
    }
    config = {
        "bundle": {"name": facts.name},
        "variables": _variables(facts, products),
        "resources": {kind: found for kind, found in resources.items() if found},
        "targets": _targets(facts),
    }
    enforced = [p.remote.envelope for p in products if p.remote is not None]
    policies = {envelope.name: policy_definition(envelope) for envelope in enforced}
    return Bundle(config, dict(sorted(policies.items())), tuple(_notes(products)))


def champion_variable(product: str, model: str) -> str:
    """Return the name of the variable that holds the version of a champion."""
    return f"{_key(product, model)}_champion_version"


def _variables(facts: BundleFacts, products: Sequence[Product]) -> dict[str, Any]:
    first = next(iter(facts.targets))
    found: dict[str, Any] = {
        "catalog": {
            "description": "Catalog of the environment: of every table, volume and model.",
            "default": first,
        }
    }
    if any(product.remote is None for product in products):
        found["home"] = {
            "description": "LAKEOPS_HOME of jobs whose product has no component Databricks. The "
            "engine commits with hard links, and a volume is expected to refuse them.",
            "default": STATE,
        }
    for product in products:
        if product.remote is not None:
            name = product.remote.envelope.name
            found[policy_variable(product.name)] = {
                "description": f"Cluster policy {name!r}; `lakeops databricks policy "
                f"{product.name} --apply` writes it to the workspace.",
                "lookup": {"cluster_policy": name},
            }
        for model in _sorted(product.models):
            # Without a default: a deployment that does not say which version is refused.
            found[champion_variable(product.name, model.name)] = {
                "description": "Version of the alias champion, which `lakeops status` tells."
            }
    return found


def _targets(facts: BundleFacts) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for number, (name, mode) in enumerate(facts.targets.items()):
        target: dict[str, Any] = {}
        if number == 0:
            target["default"] = True
        if mode:
            target["mode"] = mode
        else:
            # Mode `development` would do this too, and prefix the names of schemas and models with
            # that of whoever deploys: then no asset would find its tables.
            target["presets"] = {"trigger_pause_status": "PAUSED"}
        own = "/Workspace/Users/${workspace.current_user.userName}"
        root = "/Workspace/Shared" if mode == "production" else own
        target["workspace"] = {"root_path": f"{root}/.bundle/${{bundle.name}}/${{bundle.target}}"}
        if facts.profiles:
            target["workspace"]["profile"] = name
        target["variables"] = {"catalog": name}
        found[name] = target
    return found


def _schemas(products: Sequence[Product]) -> dict[str, Any]:
    found: dict[str, Any] = {
        SYSTEM: {
            "catalog_name": CATALOG,
            "name": SYSTEM,
            "comment": "Tables of lakeops itself, and its volumes.",
        }
    }
    for product in products:
        schema: dict[str, Any] = {
            "catalog_name": CATALOG,
            "name": product.name,
            "comment": f"Tables and models of {product.name}.",
        }
        grants = _grants(product.grants, None)
        if grants:
            schema["grants"] = grants
        found[product.name] = schema
        if product.monitors:
            # Beside the tables of our own monitors, which have the same names.
            found[f"{product.name}_monitors"] = {
                "catalog_name": CATALOG,
                "name": f"{product.name}_monitors",
                "comment": f"Metrics of the workspace's monitors of {product.name}.",
            }
    return found


def _grants(grants: Sequence[Granted], model: str | None) -> list[dict[str, Any]]:
    """Return grants as a bundle says them, one entry per principal."""
    by_principal: dict[str, set[str]] = {}
    for grant in grants:
        if grant.model == model:
            by_principal.setdefault(grant.principal, set()).update(grant.privileges)
    return [
        {"principal": principal, "privileges": sorted(privileges)}
        for principal, privileges in sorted(by_principal.items())
    ]


def _volumes() -> dict[str, Any]:
    schema = f"${{resources.schemas.{SYSTEM}.name}}"
    comments = {
        "landing": "Files of producers: <product>/<table>/.",
        "state": "Wheels of this package, and LAKEOPS_HOME unless var.home says else.",
    }
    return {
        name: {
            "catalog_name": CATALOG,
            "schema_name": schema,
            "name": name,
            "volume_type": "MANAGED",
            "comment": comment,
        }
        for name, comment in comments.items()
    }


def _models(product: Product, model: Model) -> tuple[str, dict[str, Any]]:
    found: dict[str, Any] = {
        "catalog_name": CATALOG,
        "schema_name": f"${{resources.schemas.{product.name}.name}}",
        "name": model.name,
    }
    if model.description:
        found["comment"] = model.description
    grants = _grants(product.grants, model.name)
    if grants:
        found["grants"] = grants
    return _key(product.name, model.name), found


def _experiment(product: Product) -> dict[str, Any]:
    return {"name": f"/Shared/lakeops/{CATALOG}.{product.name}"}


def _endpoint(product: Product, model: Model) -> tuple[str, dict[str, Any]]:
    key = _key(product.name, model.name)
    short = product.name if model.name == "model" else f"{product.name}-{model.name}"
    entity = {
        "name": "champion",
        "entity_name": f"${{resources.registered_models.{key}.id}}",
        "entity_version": f"${{var.{champion_variable(product.name, model.name)}}}",
        "workload_size": "Small",
        "scale_to_zero_enabled": True,
    }
    routes = [{"served_model_name": "champion", "traffic_percentage": 100}]
    return key, {
        "name": f"{CATALOG}-{short}",
        "config": {"served_entities": [entity], "traffic_config": {"routes": routes}},
    }


def _monitor(product: Product, monitored: Monitored) -> tuple[str, dict[str, Any]]:
    table = f"{CATALOG}.{monitored.schema}.{monitored.table}"
    found: dict[str, Any] = {
        "table_name": table,
        "assets_dir": f"${{workspace.root_path}}/monitors/{product.name}/{monitored.table}",
        "output_schema_name": f"{CATALOG}.${{resources.schemas.{product.name}_monitors.name}}",
        **_windows(monitored),
    }
    if monitored.baseline is not None:
        found["baseline_table_name"] = f"{CATALOG}.{monitored.baseline}"
    if monitored.slices:
        found["slicing_exprs"] = list(monitored.slices)
    if monitored.metrics:
        found["custom_metrics"] = [
            {
                "type": f"{_METRIC}{metric.type.upper()}",
                "name": metric.name,
                "input_columns": list(metric.columns),
                "definition": metric.definition,
                "output_data_type": _field(metric.data_type),
            }
            for metric in monitored.metrics
        ]
    return _key(product.name, monitored.table), found


def _windows(monitored: Monitored) -> dict[str, Any]:
    if monitored.kind == "snapshot":
        return {"snapshot": {}}
    windows: dict[str, Any] = {
        "timestamp_col": monitored.timestamp,
        "granularities": list(monitored.granularities),
    }
    if monitored.kind == "time_series":
        return {"time_series": windows}
    optional = {
        "prediction_proba_col": monitored.prediction_proba,
        "label_col": monitored.label,
    }
    return {
        "inference_log": {
            **windows,
            "model_id_col": monitored.model_id,
            "prediction_col": monitored.prediction,
            "problem_type": f"PROBLEM_TYPE_{(monitored.problem_type or '').upper()}",
            **{name: value for name, value in optional.items() if value is not None},
        }
    }


def _field(data_type: str) -> str:
    """Return the type of a metric as the monitors take it: a field of Spark's schema as JSON."""
    kind = _SPARK_JSON.get(data_type, data_type)
    return json.dumps(
        {"metadata": {}, "name": "output", "nullable": True, "type": kind}, separators=(",", ":")
    )


def _notes(products: Sequence[Product]) -> Iterator[str]:
    for product in products:
        if product.remote is None:
            yield (
                f"{product.name} has no component Databricks: its job is serverless, nothing but "
                "its timeouts limits what it costs, and its state is where var.home says."
            )
        for lost in product.lost:
            yield f"{product.name} leaves out {lost}."
        for monitored in sorted(product.monitors, key=lambda m: m.table):
            for lost in monitored.lost:
                yield f"The monitor of {monitored.schema}.{monitored.table} leaves out {lost}."


def _key(product: str, name: str) -> str:
    return f"{product}_{name}"


def _sorted(models: Sequence[Model]) -> list[Model]:
    return sorted(models, key=lambda model: model.name)


def _named(found: Iterator[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    return dict(found)
