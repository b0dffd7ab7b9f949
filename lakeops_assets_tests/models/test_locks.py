"""Which table versions the registered models need: a real SQLite store."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakeops_assets.models import ModelError, ModelRegistry, needed_versions
from lakeops_assets.models.store import open_store


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store as MLflow makes it; tests take copies, for making one takes seconds."""
    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    open_store(f"sqlite:///{path}").search_experiments(max_results=1)
    return path


@pytest.fixture
def uri(template: Path, tmp_path: Path) -> str:
    (tmp_path / "mlflow.db").write_bytes(template.read_bytes())
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


def register(uri: str, name: str, tags: dict[str, str], *, dataset: str = "") -> ModelRegistry:
    """Register a model that was logged with tags, and in whose run a dataset was named."""
    from mlflow.data.delta_dataset_source import DeltaDatasetSource
    from mlflow.entities import Dataset, DatasetInput

    registry = ModelRegistry(uri, Path("/artifacts"), name, name.rpartition(".")[0])
    client = registry.client
    run = client.create_run(registry.experiment_id)
    if dataset:
        source = DeltaDatasetSource(path="/somewhere", delta_table_version=5).to_json()
        client.log_inputs(
            run.info.run_id,
            datasets=[DatasetInput(Dataset(dataset, "v5", "delta_table", source), [])],
        )
    logged = client.create_logged_model(
        registry.experiment_id, name="m", source_run_id=run.info.run_id, tags=tags
    )
    client.finalize_logged_model(logged.model_id, "READY")
    registry.register(logged.model_id, run.info.run_id, {})
    return registry


def trained_on(table: str, version: int) -> dict[str, str]:
    return {"lakeops.table": table, "lakeops.data_version": str(version)}


def test_each_version_names_the_table_version_it_was_trained_on(uri: str) -> None:
    register(uri, "dev.shop.model", trained_on("dev.shop.features", 3))
    register(uri, "dev.shop.model", trained_on("dev.shop.features", 3))
    register(uri, "dev.shop.model", trained_on("dev.shop.features", 8))
    register(uri, "prod.shop.model", trained_on("dev.shop.features", 8))
    register(uri, "dev.shop.other", trained_on("prod.shop.features", 1))
    register(uri, "dev.shop.foreign", {})
    assert needed_versions(uri, "dev") == {
        "dev.shop.features": {
            3: ("dev.shop.model@1", "dev.shop.model@2"),
            8: ("dev.shop.model@3", "prod.shop.model@1"),
        }
    }
    assert needed_versions(uri, "prod") == {"prod.shop.features": {1: ("dev.shop.other@1",)}}
    assert needed_versions(uri, "staging") == {}


def test_live_versions_are_those_with_an_alias(uri: str) -> None:
    for version in (1, 2, 3):
        registry = register(uri, "dev.shop.model", trained_on("dev.shop.features", version))
        registry.set_alias("champion", version)
    registry.set_alias("previous", 2)
    assert list(needed_versions(uri, "dev", keep="live")["dev.shop.features"]) == [2, 3]
    # Promotions archived the first champion: it can still be reproduced.
    assert list(needed_versions(uri, "dev")["dev.shop.features"]) == [1, 2, 3]


def test_a_deleted_version_needs_nothing(uri: str) -> None:
    registry = register(uri, "dev.shop.model", trained_on("dev.shop.features", 3))
    registry.client.delete_model_version("dev.shop.model", "1")
    assert needed_versions(uri, "dev") == {}


def test_the_dataset_of_the_run_names_the_table_where_the_tag_does_not(uri: str) -> None:
    register(
        uri, "dev.shop.model", {"lakeops.data_version": "5"}, dataset="dev.shop.older_features"
    )
    assert needed_versions(uri, "dev") == {"dev.shop.older_features": {5: ("dev.shop.model@1",)}}


def test_a_version_that_does_not_say_its_table_is_an_error(uri: str) -> None:
    register(uri, "dev.shop.model", {"lakeops.data_version": "5"})
    with pytest.raises(ModelError, match=r"version 1 of dev\.shop\.model .* lakeops\.table"):
        needed_versions(uri, "dev")


def test_a_deleted_model_whose_run_is_there_keeps_its_lock(uri: str) -> None:
    registry = register(
        uri, "dev.shop.model", trained_on("dev.shop.features", 5), dataset="dev.shop.features"
    )
    registry.client.delete_logged_model(registry.version(1).model_id)
    assert needed_versions(uri, "dev") == {"dev.shop.features": {5: ("dev.shop.model@1",)}}
