"""What is stored with a run: the model as files, the rows it came from, its numbers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lakeops_assets.models.readiness import UNLOADABLE
from lakeops_assets.models.spec import ModelError
from lakeops_assets.models.train import Trained

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import DatasetInput, Metric, Param

REQUIREMENTS = ("scikit-learn", "lightgbm", "pandas", "numpy", "scipy", "cloudpickle")
EXAMPLE_ROWS = 5


def save_model(trained: Trained, data: pd.DataFrame, path: Path) -> None:
    """Write the pipeline as an MLflow model with signature and input example."""
    import mlflow.sklearn
    from mlflow.models import infer_signature

    from lakeops_assets.models.pipeline import prepare

    example = prepare(data.head(EXAMPLE_ROWS), trained.numeric, trained.categorical)
    classification = trained.spec.task == "classification"
    predict = trained.pipeline.predict_proba if classification else trained.pipeline.predict
    with warnings.catch_warnings():
        # MLflow warns that cloudpickle can run code when it is loaded; the store is our own, and
        # its other format refuses LightGBM.
        warnings.simplefilter("ignore")
        mlflow.sklearn.save_model(
            trained.pipeline,
            str(path),
            serialization_format="cloudpickle",
            signature=infer_signature(example, predict(example)),
            pip_requirements=[f"{n}=={metadata.version(n)}" for n in REQUIREMENTS],
            pyfunc_predict_fn="predict_proba" if classification else "predict",
            input_example=example,
        )


def dataset_of(data: pd.DataFrame, table: str, location: str, data_version: int, label: str) -> Any:
    """Return rows as an MLflow dataset that names its Delta table and version."""
    from mlflow.data.delta_dataset_source import DeltaDatasetSource
    from mlflow.data.pandas_dataset import from_pandas

    source = DeltaDatasetSource(path=location, delta_table_version=data_version)
    return from_pandas(data, source=source, name=table, targets=label, digest=f"v{data_version}")


def dataset_input(dataset: Any) -> DatasetInput:
    """Return a dataset as the input of a run."""
    from mlflow.entities import DatasetInput, InputTag

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # integers may have gaps; they are cast before training
        entity = dataset._to_mlflow_entity()
    tags = [InputTag("mlflow.data.context", "training and held-out rows")]
    return DatasetInput(dataset=entity, tags=tags)


def metrics_of(
    values: Mapping[str, float], model_id: str, run_id: str, dataset: Any
) -> list[Metric]:
    """Return numbers as metrics of a run, tied to model and dataset."""
    import time

    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    return [
        Metric(
            key=key,
            value=value,
            timestamp=now,
            step=0,
            model_id=model_id,
            run_id=run_id,
            dataset_name=dataset.name,
            dataset_digest=dataset.digest,
        )
        for key, value in values.items()
    ]


def params_of(values: Mapping[str, str]) -> list[Param]:
    """Return texts as parameters of a run."""
    from mlflow.entities import Param

    return [Param(key, value) for key, value in values.items()]


def model_files(artifact_location: str, tracking_uri: str) -> Path:
    """Return the folder of a stored model's files, downloaded when they are elsewhere."""
    from mlflow.artifacts import download_artifacts

    found = download_artifacts(artifact_uri=artifact_location, tracking_uri=tracking_uri)
    return Path(found)


@lru_cache(maxsize=4)
def load_pipeline(artifact_location: str, tracking_uri: str) -> Any:
    """Return the pipeline of a stored model; the last few are kept.

    Raises:
        ModelError: The files are missing, broken, or need what is not installed.
    """
    import mlflow.sklearn
    from mlflow.exceptions import MlflowException

    try:
        return mlflow.sklearn.load_model(str(model_files(artifact_location, tracking_uri)))
    except (MlflowException, *UNLOADABLE) as error:
        raise ModelError(
            f"the model in {artifact_location} cannot be loaded: {type(error).__name__}: {error}"
        ) from error
