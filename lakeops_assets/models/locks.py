"""Which table versions registered models still need."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from lakeops_assets.lakehouse import Locks
from lakeops_assets.models.entities import DATA_VERSION, TABLE
from lakeops_assets.models.spec import ModelError
from lakeops_assets.models.store import open_store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

Keep: TypeAlias = Literal["all", "live"]
PAGE = 200


def needed_versions(tracking_uri: str, catalog: str, *, keep: Keep = "all") -> Locks:
    """Return the table versions that registered model versions were trained on, and by which.

    A version of a model that was archived counts: a promotion archives the champion that it
    replaces, and nobody has decided then that it need not be reproduced. Delete the version in
    MLflow to give its data free. Models of every catalog are asked, since a model of `prod` may
    have been trained on a table of `dev`.

    Args:
        tracking_uri: MLflow store.
        catalog: Catalog of the tables that are asked about.
        keep: `all` registered versions, or those that are `live`: that carry an alias such as
            champion, previous or challenger.

    Returns:
        Full name of a table -> Delta version -> models as `<registered name>@<version>`.

    Raises:
        ModelError: A version was trained by lakeops and does not say on which table.
    """
    client = open_store(tracking_uri)
    needed: dict[str, dict[int, list[str]]] = {}
    for version in _versions(client, keep):
        data = _data_of(client, version)
        if data is None or not data[0].startswith(f"{catalog}."):
            continue
        models = needed.setdefault(data[0], {}).setdefault(data[1], [])
        models.append(f"{version.name}@{version.version}")
    return {
        table: {at: tuple(sorted(models)) for at, models in sorted(versions.items())}
        for table, versions in sorted(needed.items())
    }


def _versions(client: MlflowClient, keep: Keep) -> Iterator[ModelVersion]:
    for model in _pages(client.search_registered_models):
        aliased = {str(number) for number in (model.aliases or {}).values()}
        name = model.name.replace("'", "''")
        for version in _pages(client.search_model_versions, filter_string=f"name = '{name}'"):
            if keep == "all" or str(version.version) in aliased:
                yield version


def _pages(search: Any, **arguments: Any) -> Iterator[Any]:
    token = None
    while True:
        page = search(max_results=PAGE, page_token=token, **arguments)
        yield from page
        token = page.token
        if not token:
            return


def _data_of(client: MlflowClient, version: ModelVersion) -> tuple[str, int] | None:
    """Return the table and Delta version of a model; None for a model of somebody else.

    Raises:
        ModelError: It is ours and does not say which table.
    """
    model = _logged_model(client, version)
    if model is None:
        return _dataset_of(client, version.run_id)
    if DATA_VERSION not in model.tags:
        return None
    if TABLE in model.tags:
        return model.tags[TABLE], int(model.tags[DATA_VERSION])
    named = _dataset_of(client, version.run_id)
    if named is None:
        raise ModelError(
            f"version {version.version} of {version.name} was trained on Delta version "
            f"{model.tags[DATA_VERSION]} of a table that neither its tag {TABLE} nor a dataset of "
            f"its run names. Set the tag on the logged model {model.model_id}, or delete the "
            "version"
        )
    return named


def _logged_model(client: MlflowClient, version: ModelVersion) -> LoggedModel | None:
    """Return the model of a version; None when the version has none, or it was deleted."""
    from mlflow.exceptions import MlflowException

    source = version.source or ""
    if not source.startswith("models:/m-"):
        return None
    try:
        return client.get_logged_model(source.removeprefix("models:/"))
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _dataset_of(client: MlflowClient, run_id: str | None) -> tuple[str, int] | None:
    """Return the Delta table that a run read, as its dataset names it."""
    if not run_id:
        return None
    inputs = client.get_run(run_id).inputs
    for read in inputs.dataset_inputs if inputs else ():
        if read.dataset.source_type != "delta_table":
            continue
        at = json.loads(read.dataset.source).get("delta_table_version")
        if at is not None:
            return read.dataset.name, int(at)
    return None
