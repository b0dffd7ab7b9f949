"""Feature table to trained model, registered version, gates and champion."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import dagster as dg
from pydantic import Field

from lakeops_assets import models, settings
from lakeops_assets.components import training
from lakeops_assets.components.champion import champion_asset
from lakeops_assets.components.gate_models import (
    ChampionGateModel,
    CoverageModel,
    DataQualityModel,
    MetricGateModel,
    ReadinessModel,
    SliceModel,
    ValueModel,
    gate_specs,
)
from lakeops_assets.components.gates import gates_check
from lakeops_assets.components.lineage import graph_of
from lakeops_assets.components.metadata import table_result
from lakeops_assets.components.monitored import alerting
from lakeops_assets.components.names import (
    LAYER,
    REGISTERED_NAME,
    STATE,
    TABLE_NAME,
    ModelNames,
    asset_key,
    digest,
    table_name,
)
from lakeops_assets.components.policies import PromotionPolicyModel, policies
from lakeops_assets.components.promotable import Promotable
from lakeops_assets.components.promotion_jobs import approve_job, revert_job
from lakeops_assets.components.quality import quality_gates, training_contracts
from lakeops_assets.components.reproduce import reproduce_job
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.components.retraining import RetrainModel
from lakeops_assets.components.scaffold import ExampleScaffolder
from lakeops_assets.models import ModelSpec
from lakeops_assets.promotion import Gate, Ledger, QualityGate, gates_digest, live_champion


@dg.scaffold_with(ExampleScaffolder)
class TabularModel(dg.Component, dg.Model, dg.Resolvable):
    """Trains a model on a feature table, registers it, and promotes what passes its gates.

    Each training is one MLflow run. The gates are asset checks on the registered version; their
    verdict is stored, and the champion changes only through the stored verdict.
    """

    features: str = Field(description="Feature table, `<product>.<table>`.")
    task: Literal["classification", "regression"] = Field(
        description="What is predicted: one of two classes, or a number."
    )
    label: str = Field(description="Column with the label; rows without one are not trained on.")
    positive: str | int | bool | None = Field(
        default=None, description="Label that counts as positive; needed for classification."
    )
    primary_key: list[str] = Field(
        description="Key of the feature table; its hash decides which rows are held out."
    )
    name: str = Field(
        default="model", description="Name of the model; a product with several names each."
    )
    exclude: list[str] = Field(
        default_factory=list, description="Columns of the feature table that are no features."
    )
    estimator: str = Field(
        default="lightgbm.LGBMClassifier",
        description="Import path of a scikit-learn estimator, such as "
        "`sklearn.linear_model.LogisticRegression`.",
    )
    params: dict[str, Any] = Field(default_factory=dict, description="Parameters of the estimator.")
    categorical: list[str] = Field(
        default_factory=list,
        description="Features to treat as categories though they are numbers; text always is.",
    )
    test_share: float = Field(
        default=0.2, description="Share of the keys that is held out from every training."
    )
    split_by: list[str] = Field(
        default_factory=list,
        description="Columns whose hash decides which rows are held out, such as a day whose rows "
        "tell of each other; the primary key when empty.",
    )
    seed: int = Field(default=0, description="Seed of the estimator and of the bootstrap.")
    retrain: RetrainModel = Field(
        default_factory=RetrainModel,
        description="When it is trained again; on any new data when no condition is given.",
    )
    gates: list[MetricGateModel] = Field(
        description="What a version must reach on the held-out rows before it may be promoted."
    )
    not_worse_than_champion: list[ChampionGateModel] = Field(
        default_factory=list, description="Paired comparisons that a challenger must pass."
    )
    slices: list[SliceModel] = Field(
        default_factory=list, description="Metrics that must hold in every slice of the rows."
    )
    value: ValueModel | None = Field(
        default=None, description="What decisions must be worth, in money; not asked when empty."
    )
    coverage: CoverageModel | None = Field(
        default=None, description="Share of rows with a fresh value; not asked when empty."
    )
    data_quality: DataQualityModel | None = Field(
        default_factory=DataQualityModel,
        description="Contracts of the training tables that must stand; not asked with `null`, nor "
        "where no table has one.",
    )
    readiness: ReadinessModel | None = Field(
        default_factory=ReadinessModel,
        description="What the stored model must show by itself; not asked with `null`.",
    )
    data_behind_at_most: str = Field(
        default="30 days",
        description="How far the feature table may have moved on, from the version that was "
        "trained on, when a version is promoted; not asked when empty.",
    )
    promotion: dict[str, PromotionPolicyModel] = Field(
        default_factory=dict,
        description="Environment -> who must approve a new champion there. What is not said is "
        "strict: only dev promotes without an approval.",
    )
    product: str = Field(
        default="", description="Product, which is schema and group; the folder's name when empty."
    )
    description: str = Field(default="", description="What the model predicts; shown in the UI.")

    @classmethod
    def get_spec(cls) -> dg.ComponentTypeSpec:
        """Return how the type is shown in the registry."""
        return dg.ComponentTypeSpec(tags=["model", "mlflow"])

    def model_spec(self, product: str) -> ModelSpec:
        """Return what the models room needs to know."""
        return ModelSpec(
            name=f"{product}.{self.name}",
            task=self.task,
            label=self.label,
            primary_key=tuple(self.primary_key),
            exclude=tuple(self.exclude),
            positive=self.positive,
            estimator=self.estimator,
            params=self.params,
            categorical=tuple(self.categorical),
            test_share=self.test_share,
            split_by=tuple(self.split_by),
            seed=self.seed,
        )

    def gate_specs(self, quality: Sequence[QualityGate] = ()) -> tuple[Gate, ...]:
        """Return what the promotion room needs to know; the gates on contracts are given."""
        return gate_specs(
            self.task,
            self.gates,
            self.not_worse_than_champion,
            slices=self.slices,
            value=self.value,
            coverage=self.coverage,
            readiness=self.readiness,
            data_behind_at_most=self.data_behind_at_most,
            quality=quality,
        )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return the model, its version with the gates, the champion and its baseline."""
        product = self.product or context.path.name
        names = ModelNames(product, self.name)
        environment = settings.load().environment
        spec = self.model_spec(product)
        features_key = asset_key(self.features, product)
        held = training_contracts(context, product, features_key, self.data_quality)
        gates = self.gate_specs(quality_gates(self.data_quality, held))
        features = table_name(features_key, environment)
        promotable = Promotable(names, spec, features, gates, policies(self.promotion), held)
        baseline_table = table_name(names.baseline, environment)
        registered = names.registered(environment)
        retrain = self.retrain.policy()
        library = self.estimator.split(".")[0]
        kinds = {"mlflow", "scikitlearn" if library == "sklearn" else library}

        @dg.asset(
            key=names.trained,
            deps=[features_key],
            group_name=product,
            kinds=kinds,
            description=self.description or f"Predicts `{self.label}` from `{features}`.",
            code_version=digest(spec.digest(), retrain),
            metadata={LAYER: "model", "estimator": self.estimator},
        )
        def model(
            context: dg.AssetExecutionContext, lakeops: LakeopsResource
        ) -> dg.MaterializeResult:
            outcome = training.train(
                lakeops.lakehouse(),
                lakeops.registry(product, self.name),
                spec,
                features,
                tags=training.dagster_tags(lakeops, context.run_id, names.trained),
                policy=retrain,
                alerts=partial(alerting, lakeops.lakehouse(), graph_of(context), product),
            )
            context.log.info("%s", outcome.reason)
            return dg.MaterializeResult(
                metadata=training.training_metadata(outcome, lakeops.mlflow_url),
                data_version=dg.DataVersion(outcome.model_id),
                tags={STATE: lakeops.state_id()},
            )

        @dg.asset(
            key=names.version,
            deps=[names.trained],
            group_name=product,
            kinds={"mlflow"},
            description=f"Registered version of `{registered}`; its checks are the gates.",
            code_version=gates_digest(gates),
            metadata={LAYER: "model", REGISTERED_NAME: registered},
        )
        def model_version(
            context: dg.AssetExecutionContext, lakeops: LakeopsResource
        ) -> dg.MaterializeResult:
            # First, so that the checks compare with the champion that the ledger knows.
            promotable.reconcile(lakeops, context.run_id)
            version = training.register(lakeops.registry(product, self.name), lakeops.actor)
            return dg.MaterializeResult(
                metadata=training.version_metadata(version, lakeops.mlflow_url, registered),
                data_version=dg.DataVersion(f"v{version.version}"),
                tags={STATE: lakeops.state_id()},
            )

        @dg.asset(
            key=names.baseline,
            deps=[names.champion],
            group_name=product,
            kinds={"gold", "deltalake"},
            description="Rows on which the champion was trained and tested, with its predictions; "
            "monitors compare with them.",
            metadata={TABLE_NAME: str(baseline_table), LAYER: "gold"},
        )
        def baseline(lakeops: LakeopsResource) -> dg.MaterializeResult:
            lakehouse, registry = lakeops.lakehouse(), lakeops.registry(product, self.name)
            live = live_champion(Ledger(lakehouse), registry)
            if live.version is None:
                raise models.ModelError(live.reason)
            commit = training.write_baseline(
                lakehouse, registry, spec, features, baseline_table, live.version
            )
            return table_result(lakeops, baseline_table, commit)

        return dg.Definitions(
            assets=[model, model_version, champion_asset(promotable, registered), baseline],
            asset_checks=[gates_check(names, spec, features, gates, held)],
            jobs=[approve_job(promotable), revert_job(promotable), reproduce_job(names)],
        )
