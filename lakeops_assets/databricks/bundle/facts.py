"""What a bundle is made of: facts about products that somebody read from the asset graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from lakeops_assets.databricks.remote import RemoteSpec


@dataclass(frozen=True)
class Step:
    """Assets that are made together, which become one task.

    Attributes:
        name: Name within the product, such as `features`; the key of the task.
        assets: Their keys, such as `churn/features`.
        after: Keys of the assets that have to be made before.
        description: What they are.
    """

    name: str
    assets: tuple[str, ...]
    after: tuple[str, ...] = ()
    description: str = ""


@dataclass(frozen=True)
class Model:
    """A registered model.

    Attributes:
        name: Name within the product's schema.
        description: What it predicts.
    """

    name: str
    description: str = ""


@dataclass(frozen=True)
class CustomMetric:
    """A metric of a monitor's owner.

    Attributes:
        type: `aggregate`, `derived` or `drift`.
        name: Name of the column.
        definition: Template of an SQL expression.
        columns: Columns that it is computed for.
        data_type: Spark's name of the type.
    """

    type: str
    name: str
    definition: str
    columns: tuple[str, ...]
    data_type: str


@dataclass(frozen=True)
class Monitored:
    """A table with a monitor, in the vocabulary of the vendor's monitors.

    Attributes:
        table: Name within its schema.
        schema: Its schema.
        kind: `snapshot`, `time_series` or `inference_log`.
        timestamp: Column with the time; None for a snapshot.
        granularities: Lengths of the windows.
        prediction: Column with the prediction.
        prediction_proba: Column with the probability.
        label: Column with the label.
        model_id: Column with the version of the model.
        problem_type: `classification` or `regression`.
        baseline: Table to compare with, `<schema>.<table>`; None without one.
        slices: Expressions that make slices.
        metrics: Metrics of the owner's own.
        lost: What the monitor says that the vendor's has no word for.
    """

    table: str
    schema: str
    kind: str
    timestamp: str | None = None
    granularities: tuple[str, ...] = ()
    prediction: str | None = None
    prediction_proba: str | None = None
    label: str | None = None
    model_id: str | None = None
    problem_type: str | None = None
    baseline: str | None = None
    slices: tuple[str, ...] = ()
    metrics: tuple[CustomMetric, ...] = ()
    lost: tuple[str, ...] = ()


@dataclass(frozen=True)
class Granted:
    """What somebody may do with a whole schema or with one of its models.

    Attributes:
        principal: Name of a group, a service principal or a user.
        privileges: What is allowed, as the interface names it.
        model: Name of the model; None for the schema.
    """

    principal: str
    privileges: tuple[str, ...]
    model: str | None = None


@dataclass(frozen=True)
class Product:
    """One product.

    Attributes:
        name: Product, which is the schema.
        steps: What is made, in any order.
        models: Its registered models.
        monitors: Its monitored tables.
        grants: Who may do what with its schema.
        remote: What it says about its jobs; None when it says nothing.
        lands: Whether files land for it.
        lost: What it declares that a bundle has no word for.
    """

    name: str
    steps: tuple[Step, ...]
    models: tuple[Model, ...] = ()
    monitors: tuple[Monitored, ...] = ()
    grants: tuple[Granted, ...] = ()
    remote: RemoteSpec | None = None
    lands: bool = False
    lost: tuple[str, ...] = ()


@dataclass(frozen=True)
class BundleFacts:
    """Everything that a bundle is made of.

    Attributes:
        name: Name of the bundle.
        version: Version of this package, which names its wheel.
        products: The products.
        targets: Environment, which is the catalog -> mode, `production` or empty. The first is the
            one that is deployed when none is named.
        profiles: Whether each target asks for the profile of its name; else the workspace is what
            the environment of the deploying process says.
    """

    name: str
    version: str
    products: tuple[Product, ...]
    targets: Mapping[str, str] = field(
        default_factory=lambda: {"dev": "", "staging": "production", "prod": "production"}
    )
    profiles: bool = True
