"""A mistake in YAML or SQL is told in a sentence: where, what, and what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakeops_assets.components.products import ProductError
from lakeops_assets.components.scaffold import new_product
from lakeops_assets.definitions import defs
from lakeops_assets.settings import Settings


@pytest.fixture
def product(config: Settings) -> Path:
    new_product(config.products, "shop")
    return config.products / "shop"


def line_of(text: str, path: Path) -> int:
    return next(i for i, line in enumerate(path.read_text().splitlines(), 1) if text in line)


MISTAKES = [
    ("schema_policy: evolve", "schema_polcy: evolve", "did you mean schema_policy?"),
    ("type: lakeops_assets.components.BronzeTable", None, "There are: BatchScores, BronzeTable"),
    ("format: csv ", "format: xml ", "'csv', 'json' or 'parquet'"),
    ("  primary_key: [customer_id]\n  refresh", "  refresh", "needs the field primary_key"),
    ("test_share: 0.2", "test_share: many", "valid number"),
    ("task: classification", "task: clustering", "'classification' or 'regression'"),
    ("metric: roc_auc, at_least", "metric: auc, at_least", "has the metrics roc_auc, pr_auc"),
    ("sql: features.sql", "sql: feature.sql", "SQL files there: features.sql"),
    ("type: bigint", "type: bigit", "not one of Spark SQL|does not know"),
    ("granularities: [1 week]", "granularities: [1 weak]", "such as '1 day'"),
    ("table: customers", "table: custo-mers", "is not a name"),
    ("attributes:", "attributes: [", "defs.yaml"),
]


@pytest.mark.parametrize(("right", "wrong", "because"), MISTAKES)
def test_a_mistake_in_yaml(product: Path, right: str, wrong: str | None, because: str) -> None:
    path = product / "defs.yaml"
    text = path.read_text()
    assert right in text
    path.write_text(text.replace(right, wrong or right.replace("Table", "Tabel"), 1))
    with pytest.raises(ProductError, match=because) as caught:
        defs()
    assert str(path) in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_the_line_of_a_misspelt_field_is_named(product: Path) -> None:
    path = product / "defs.yaml"
    path.write_text(path.read_text().replace("estimator:", "estimater:"))
    with pytest.raises(ProductError) as caught:
        defs()
    line = line_of("estimater", path)
    assert str(caught.value).startswith(f"{path}:{line}: TabularModel has no field estimater")


@pytest.mark.parametrize(
    ("right", "wrong", "because"),
    [
        ("c.tenure,", "c.tenure, FROM", "does not parse.*Line"),
        ("SELECT\n", "DROP\n", "SELECT"),
        ("c.customer_id,\n", "", "customer_id"),
    ],
)
def test_a_mistake_in_sql_is_found_before_anything_runs(
    product: Path, right: str, wrong: str, because: str
) -> None:
    path = product / "features.sql"
    path.write_text(path.read_text().replace(right, wrong, 1))
    with pytest.raises(ProductError, match=because) as caught:
        defs()
    line = line_of("FeatureTable", product / "defs.yaml")
    assert str(caught.value).startswith(f"{product / 'defs.yaml'}:{line}: ")


def test_products_of_the_project_stand_beside_those_of_the_package(product: Path) -> None:
    keys = {k.to_user_string() for k in defs().resolve_asset_graph().materializable_asset_keys}
    assert {"churn/champion", "shop/champion", "shop/scores_drift_metrics"} <= keys
