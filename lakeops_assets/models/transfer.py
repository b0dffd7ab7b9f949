"""A version is copied to another registry with its bytes: to another environment or another store.

MLflow's own copy of a version points to the files of the original. When those are cleaned up the
copy does not load any more (mlflow issue 15831), and it works within one store only. Here files,
parameters, metrics and tags go along, and the copy is a model of its own.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakeops_assets.models.entities import AUTHORS, DATA_VERSION, FINGERPRINT, MODEL, USER
from lakeops_assets.models.registry import ModelRegistry
from lakeops_assets.models.spec import ModelError

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel

# Tag of a copied model and version: `<registered name>/<version>` of the original.
SOURCE = "lakeops.copied_from"
# What was decided about the original holds in its environment and not in the other one.
DECIDED = ("lakeops.ledger", "lakeops.gate", "lakeops.evaluation", "lakeops.reverted", "approval_")


@dataclass(frozen=True)
class Copied:
    """A version in another registry.

    Attributes:
        source: Registered name of the original.
        source_version: Its version.
        model: Registered name of the copy.
        version: Its version.
        written: Whether it was copied now; False when it was there already.
    """

    source: str
    source_version: int
    model: str
    version: int
    written: bool


def find_copy(source: ModelRegistry, version: int, target: ModelRegistry) -> int | None:
    """Return the version of the target that is the same model; None when there is none.

    The same fingerprint is the same specification, data and code.
    """
    fingerprint = source.fingerprint(version)
    if not fingerprint:
        raise ModelError(
            f"version {version} of {source.name} has no fingerprint: lakeops did not train it"
        )
    return next(
        (v.version for v in target.versions() if target.fingerprint(v.version) == fingerprint), None
    )


def copy_version(
    source: ModelRegistry, version: int, target: ModelRegistry, *, actor: str
) -> Copied:
    """Copy a version with its bytes; does nothing where it is already.

    The copied model becomes READY last: a process that is killed before leaves one that nobody
    finds, and the next call makes it again.

    Args:
        source: Where the version is.
        version: The version.
        target: Where it shall be; another store, another registered name or both.
        actor: Who copies; counts among the authors of the copy.

    Raises:
        ModelError: The original does not exist, or lakeops did not train it.
    """
    known = find_copy(source, version, target)
    if known is not None:
        return Copied(source.name, version, target.name, known, written=False)
    info = source.version(version)
    origin = f"{source.name}/{version}"
    original = source.client.get_logged_model(info.model_id)
    found = target.find_model(original.tags[FINGERPRINT])
    if found is None:
        with target.start_run(f"copy of {origin}", {USER: actor, SOURCE: origin}) as run_id:
            _copy_model(source, original, target, run_id, origin)
        found = target.find_model(original.tags[FINGERPRINT])
        if found is None:
            raise ModelError(f"the copy of {origin} in {target.name} was removed meanwhile")
    kept = {k: v for k, v in info.tags.items() if not k.casefold().startswith(DECIDED)}
    tags = {**kept, SOURCE: origin, USER: actor, AUTHORS: ",".join(source.authors(version))}
    copied = target.register(found.model_id, found.run_id, tags)
    return Copied(source.name, version, target.name, copied, written=True)


@contextmanager
def _without_progress_bar() -> Iterator[None]:
    from mlflow.environment_variables import MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR as SHOWN

    before = os.environ.get(SHOWN.name)
    os.environ[SHOWN.name] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ[SHOWN.name]
        else:
            os.environ[SHOWN.name] = before


def _copy_model(
    source: ModelRegistry, original: LoggedModel, target: ModelRegistry, run_id: str, origin: str
) -> None:
    from mlflow.artifacts import download_artifacts
    from mlflow.entities import Metric

    tags: Mapping[str, str] = {**original.tags, MODEL: target.name, SOURCE: origin}
    copy = target.client.create_logged_model(
        target.experiment_id,
        name=original.name,
        source_run_id=run_id,
        params=dict(original.params or {}),
        tags=dict(tags),
        model_type=original.model_type,
    )
    with tempfile.TemporaryDirectory() as folder, _without_progress_bar():
        path = download_artifacts(
            artifact_uri=original.artifact_location,
            tracking_uri=source.tracking_uri,
            dst_path=folder,
        )
        target.client.log_model_artifacts(copy.model_id, path)
    metrics = [
        Metric(
            key=m.key,
            value=m.value,
            timestamp=m.timestamp,
            step=m.step,
            model_id=copy.model_id,
            run_id=run_id,
            dataset_name=m.dataset_name,
            dataset_digest=m.dataset_digest,
        )
        for m in original.metrics or []
    ]
    target.client.log_batch(run_id, metrics=metrics)
    target.client.set_tag(run_id, DATA_VERSION, original.tags.get(DATA_VERSION, ""))
    target.client.finalize_logged_model(copy.model_id, "READY")
