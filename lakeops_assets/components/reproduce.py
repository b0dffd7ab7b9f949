"""A job that makes a registered model again, for the button in the UI."""

from typing import Any

import dagster as dg
from pydantic import Field

from lakeops_assets.components.names import ModelNames
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.models import Reference
from lakeops_assets.models import reproduce as reproduce_version


class ReproduceConfig(dg.Config):
    """What to make again."""

    version: str = Field(
        default="champion", description="Number of a version, or an alias such as previous."
    )


def reproduce_job(names: ModelNames) -> dg.JobDefinition:
    """Return the job of one model."""
    prefix = names.product if names.model == "model" else f"{names.product}_{names.model}"

    @dg.op(name=f"reproduce_{prefix}")
    def make_again(
        context: dg.OpExecutionContext, config: ReproduceConfig, lakeops: LakeopsResource
    ) -> None:
        registry = lakeops.registry(names.product, names.model)
        version = Reference(names.product, names.model, config.version).resolve(registry)
        found = reproduce_version(registry, version, lakeops.lakehouse())
        for difference in found.differences:
            context.log.warning("%s", difference)
        metadata: dict[str, Any] = {
            "version": found.version,
            "rows": found.rows,
            "code": found.code,
            "reason": found.reason,
            "not_as_recorded": "; ".join(found.differences) or "nothing",
        }
        if found.max_abs_difference is not None:
            metadata["max_abs_difference"] = found.max_abs_difference
        if not found.identical:
            raise dg.Failure(found.reason, metadata, allow_retries=False)
        context.log.info("%s", found.reason)
        context.add_output_metadata(metadata)

    @dg.job(
        name=f"{prefix}_reproduce",
        description=f"Trains a version of `{names.product}.{names.model}` again from its record "
        "and compares all predictions with the stored model's. Fails when they differ.",
    )
    def job() -> None:
        make_again()

    return job
