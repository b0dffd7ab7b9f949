"""Facts for a bundle, read from the asset graph."""

import re
from collections.abc import Iterator, Sequence
from importlib.metadata import version

import dagster as dg
from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph as AssetGraph

from lakeops_assets import settings
from lakeops_assets.components.databricks import remote_specs
from lakeops_assets.components.grants import grants_of
from lakeops_assets.components.monitored import MonitoredTable, monitored_tables
from lakeops_assets.components.names import LANDING, ON_REQUEST, REGISTERED_NAME
from lakeops_assets.databricks import bundle

PACKAGE = "lakeops-assets"


def bundle_facts(
    graph: AssetGraph, products: Sequence[str], *, name: str, profiles: bool = True
) -> bundle.BundleFacts:
    """Return the facts about some products, or about all.

    Args:
        graph: The graph.
        products: Products; all when empty.
        name: Name of the bundle.
        profiles: Whether targets name the profiles of their workspaces.

    Raises:
        BundleError: There is no such product.
    """
    there = sorted({str(graph.get(k).group_name) for k in graph.materializable_asset_keys})
    unknown = [product for product in products if product not in there]
    if unknown:
        raise bundle.BundleError(
            f"there is nothing of {', '.join(unknown)}; products: {', '.join(there) or 'none'}"
        )
    return bundle.BundleFacts(
        name=name,
        version=version(PACKAGE),
        products=tuple(_product(graph, product) for product in sorted(products or there)),
        profiles=profiles,
    )


def _product(graph: AssetGraph, product: str) -> bundle.Product:
    keys = [
        key
        for key in graph.toposorted_asset_keys
        if key in graph.materializable_asset_keys and graph.get(key).group_name == product
    ]
    rules = [rule for spec in grants_of(graph) if spec.product == product for rule in spec.rules]
    return bundle.Product(
        name=product,
        steps=tuple(_steps(graph, product, keys)),
        models=tuple(_models(graph, keys)),
        monitors=tuple(_monitor(m) for m in monitored_tables(graph) if m.product == product),
        grants=tuple(
            bundle.Granted(rule.principal, rule.privileges, rule.model or None)
            for rule in rules
            if not rule.table
        ),
        remote=next((spec for spec in remote_specs(graph) if spec.product == product), None),
        lands=any(LANDING in graph.get(key).metadata for key in keys),
        lost=tuple(
            f"grants on the table {table}: a bundle has no tables, and `lakeops catalog plan "
            f"{product}` makes them"
            for table in sorted({rule.table for rule in rules if rule.table})
        ),
    )


def _steps(graph: AssetGraph, product: str, keys: Sequence[dg.AssetKey]) -> Iterator[bundle.Step]:
    """Yield the steps that the job of a product makes; what waits for a request is none."""
    made: dict[str, list[dg.AssetKey]] = {}
    for key in keys:
        if ON_REQUEST not in graph.get(key).metadata:
            name = graph.get(key).assets_def.op.name
            made.setdefault(name.removeprefix(f"{product}__"), []).append(key)
    for name, together in made.items():
        after = {p for key in together for p in graph.get(key).parent_keys}
        yield bundle.Step(
            name=name,
            assets=tuple(sorted(key.to_user_string() for key in together)),
            after=tuple(sorted(key.to_user_string() for key in after)),
            description=" ".join(dict.fromkeys(_described(graph, key) for key in together)),
        )


def _models(graph: AssetGraph, keys: Sequence[dg.AssetKey]) -> Iterator[bundle.Model]:
    found: dict[str, str] = {}
    for key in keys:
        registered = graph.get(key).metadata.get(REGISTERED_NAME)
        if registered is not None:
            name = str(getattr(registered, "value", registered)).rpartition(".")[2]
            trained = dg.AssetKey([key.path[0], name])
            found.setdefault(name, _described(graph, trained))
    for name, description in sorted(found.items()):
        yield bundle.Model(name, description)


def _described(graph: AssetGraph, key: dg.AssetKey) -> str:
    """Return a description that holds in every environment, without the present one's catalog."""
    text = graph.get(key).description or ""
    return re.sub(rf"`{re.escape(settings.load().environment)}\.", "`", text)


def _monitor(monitored: MonitoredTable) -> bundle.Monitored:
    spec = monitored.spec
    baseline = spec.baseline and spec.baseline.partition(".")[2]
    lost = []
    if spec.baseline_where:
        lost.append(f"baseline_where: all rows of {baseline} are compared with")
    if spec.exclude:
        lost.append(f"exclude: {', '.join(spec.exclude)} are profiled too")
    return bundle.Monitored(
        table=monitored.table.table,
        schema=monitored.table.schema,
        kind=spec.kind,
        timestamp=spec.timestamp_col,
        granularities=tuple(spec.granularities),
        prediction=spec.prediction_col,
        prediction_proba=spec.prediction_proba_col,
        label=spec.label_col,
        model_id=spec.model_id_col,
        problem_type=spec.problem_type,
        baseline=baseline or None,
        slices=spec.slicing_exprs,
        metrics=tuple(
            bundle.CustomMetric(m.type, m.name, m.definition, m.input_columns, m.output_data_type)
            for m in spec.custom_metrics
        ),
        lost=tuple(lost),
    )
