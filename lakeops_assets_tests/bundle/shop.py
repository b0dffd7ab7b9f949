"""Facts about a product that uses everything a bundle can say, and changes of its bundle."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

from lakeops_assets.databricks import Compute, CostEnvelope, NodeType, RemoteSpec
from lakeops_assets.databricks.bundle import (
    Bundle,
    BundleFacts,
    CustomMetric,
    Granted,
    Model,
    Monitored,
    Product,
    Step,
    bundle,
)

VOLUME = "/Volumes/main/lakeops"
ENVELOPE = CostEnvelope(
    name="shop jobs",
    dbus_per_hour=4,
    node_types={"m5.large": NodeType(0.34, 0.1), "m5.xlarge": NodeType(0.69, 0.2)},
    max_workers=2,
    hours_per_run=2,
    money_per_run=9,
    money_per_dbu=0.15,
    serverless_dbus_per_hour=4,
    tags={"team": "shop"},
)
REMOTE = RemoteSpec(
    product="shop",
    volume=f"{VOLUME}/runs",
    wheel=f"{VOLUME}/wheels/lakeops_assets-0.1.0-py3-none-any.whl",
    variables={"LAKEOPS_HOME": f"{VOLUME}/state"},
    envelope=ENVELOPE,
    runs_on={
        "model": Compute(node_type="m5.xlarge", workers=2, hours=1),
        "totals": Compute(node_type="m5.large"),
        "report": Compute(node_type="m5.large"),
    },
    dependencies=("holidays==0.80",),
)
SHOP = Product(
    name="shop",
    steps=(
        Step("model", ("shop/model",), ("shop/totals",), "Whether a customer comes back."),
        Step("totals", ("shop/totals",), ("shop/orders", "elsewhere/days")),
        Step("orders", ("shop/orders",)),
        Step("totals_monitor", ("shop/totals_a", "shop/totals_b"), ("shop/totals",)),
        Step("report", ("shop/report",), ("shop/totals_a", "shop/totals_b")),
    ),
    models=(Model("model", "Whether a customer comes back."), Model("basket")),
    monitors=(
        Monitored("totals", "shop", "snapshot"),
        Monitored(
            "scores",
            "shop",
            "inference_log",
            timestamp="day",
            granularities=("1 day", "2 weeks"),
            prediction="prediction",
            prediction_proba="proba",
            label="back",
            model_id="version",
            problem_type="classification",
            baseline="shop.baseline",
            slices=("country", "amount > 100"),
            metrics=(
                CustomMetric("aggregate", "big", "avg({{input_column}})", ("amount",), "double"),
                CustomMetric("derived", "twice", "2 * big", (":table",), "bigint"),
            ),
            lost=("baseline_where: all rows of shop.baseline are compared with",),
        ),
    ),
    grants=(
        Granted("analysts", ("SELECT", "USE_SCHEMA")),
        Granted("gateway", ("EXECUTE",), model="model"),
    ),
    remote=REMOTE,
    lands=True,
    lost=("grants on the table scores: a bundle has no tables",),
)
FACTS = BundleFacts("lakeops", "0.1.0", (SHOP,))


def made(facts: BundleFacts = FACTS) -> Bundle:
    """Return a bundle as it comes out of a file: plain values that a test may change."""
    found = bundle(facts)
    policies = json.loads(json.dumps(found.policies))
    return Bundle(copy.deepcopy(dict(found.config)), policies, found.notes)


def changed(found: Bundle, path: str, value: Any) -> Bundle:
    """Return a bundle with another value at a path; `...` takes the field away.

    Args:
        found: The bundle.
        path: Names and numbers with a slash between them.
        value: What stands there then.
    """
    config = copy.deepcopy(dict(found.config))
    *parents, last = path.split("/")
    target: Any = config
    for name in parents:
        target = target[int(name)] if isinstance(target, list) else target[name]
    if value is ...:
        del target[int(last) if isinstance(target, list) else last]
    elif isinstance(target, list):
        target[int(last)] = value
    else:
        target[last] = value
    return Bundle(config, found.policies)


def maps(value: Any, path: str = "") -> list[tuple[str, Mapping[str, Any]]]:
    """Return each map in a value with its path."""
    found: list[tuple[str, Mapping[str, Any]]] = []
    if isinstance(value, dict):
        found.append((path, value))
        for name, item in value.items():
            found += maps(item, f"{path}/{name}" if path else name)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            found += maps(item, f"{path}/{number}")
    return found
