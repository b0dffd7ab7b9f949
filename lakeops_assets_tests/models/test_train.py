"""Fitting: what may decide a model and what must not."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn.datasets

from lakeops_assets.models import ModelError, ModelSpec, evaluate, is_held_out, labels, train


def customers(rows: int = 600, seed: int = 0) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    tenure = generator.integers(0, 72, rows)
    plan = generator.choice(["basic", "plus", "pro"], rows)
    left = generator.random(rows) < 1 / (1 + np.exp(0.08 * tenure - 2 + (plan == "basic")))
    return pd.DataFrame(
        {
            "id": np.arange(rows),
            "tenure": tenure,
            "plan": plan,
            "charge": generator.normal(50, 10, rows).round(2),
            "left": np.where(left, "Yes", "No"),
        }
    )


def spec(**options: Any) -> ModelSpec:
    base: dict[str, Any] = {
        "name": "model",
        "task": "classification",
        "label": "left",
        "positive": "Yes",
        "primary_key": ("id",),
        "params": {"n_estimators": 20, "min_child_samples": 5},
    }
    return ModelSpec(**{**base, **options})


def test_the_order_of_the_rows_does_not_matter() -> None:
    frame = customers()
    one = train(spec(), frame).score(frame)
    other = train(spec(), frame.sample(frac=1, random_state=7)).score(frame)
    np.testing.assert_array_equal(one, other)


def test_nothing_leaks_from_held_out_rows() -> None:
    """Whatever held-out rows hold, what is fitted stays the same."""
    frame = customers()
    held = is_held_out(spec(), frame)
    poisoned = frame.copy()
    poisoned.loc[held, "charge"] = 1e9
    poisoned.loc[held, "plan"] = "only in the test rows"
    poisoned.loc[held, "left"] = "Yes"
    probe = customers(50, seed=9)
    for estimator in ("lightgbm.LGBMClassifier", "sklearn.linear_model.LogisticRegression"):
        model = spec(estimator=estimator, params={})
        clean = train(model, frame[~held]).score(probe)
        np.testing.assert_array_equal(clean, train(model, poisoned[~held]).score(probe))


def test_rows_without_a_label_are_left_out() -> None:
    frame = customers()
    unknown = customers(100, seed=3).assign(id=lambda f: f["id"] + 10_000, left=None)
    both = train(spec(), pd.concat([frame, unknown]))
    assert both.rows == len(frame)
    np.testing.assert_array_equal(both.score(frame), train(spec(), frame).score(frame))


@pytest.mark.parametrize(
    "estimator",
    [
        "lightgbm.LGBMClassifier",
        "sklearn.linear_model.LogisticRegression",
        "sklearn.ensemble.HistGradientBoostingClassifier",
        "sklearn.ensemble.RandomForestClassifier",
    ],
)
def test_any_classifier_by_import_path(estimator: str) -> None:
    frame, fresh = customers(), customers(400, seed=5)
    model = train(spec(estimator=estimator, params={}), frame)
    fresh.loc[0, "plan"], fresh.loc[1, "plan"] = "never seen", None
    if "Forest" not in estimator:
        fresh.loc[2, "charge"] = np.nan
    scores = model.score(fresh)
    assert ((scores >= 0) & (scores <= 1)).all()
    found = evaluate("classification", labels(model.spec, fresh), scores, resamples=2, seed=0)
    assert found.metrics["roc_auc"].value > 0.75
    assert model.negative == "No"


@pytest.mark.parametrize(
    ("estimator", "least"),
    [
        ("lightgbm.LGBMRegressor", 0.3),
        ("sklearn.ensemble.RandomForestRegressor", 0.3),
        ("sklearn.linear_model.Ridge", 0.4),
    ],
)
def test_regressors_on_real_patients(estimator: str, least: float) -> None:
    """Progression of diabetes of 442 patients (Efron et al. 2004), which scikit-learn ships."""
    frame = sklearn.datasets.load_diabetes(as_frame=True).frame.reset_index(names="id")
    model = spec(
        task="regression",
        label="target",
        positive=None,
        estimator=estimator,
        params={},
        test_share=0.3,
    )
    held = is_held_out(model, frame)
    trained = train(model, frame[~held])
    test = frame[held]
    found = evaluate("regression", labels(model, test), trained.score(test), resamples=2, seed=0)
    assert found.metrics["r2"].value > least


def test_columns_of_every_kind() -> None:
    frame = customers(200)
    number = frame["tenure"]
    frame = frame.assign(
        flag=number > 30,
        gaps=pd.array([None if n % 7 == 0 else int(n) for n in number], dtype="Int64"),
        maybe=[None if n % 5 == 0 else bool(n % 2) for n in number],
        price=[Decimal(int(n)) / 4 for n in number],
        kind=pd.Categorical(frame["plan"]),
        code=number % 3,
        nothing=None,
    )
    model = train(spec(categorical=("code",)), frame)
    assert set(model.categorical) == {"plan", "kind", "code"}
    assert set(model.numeric) == {"tenure", "charge", "flag", "gaps", "maybe", "price", "nothing"}
    # A column of integers with a gap arrives as floats; the categories are the same.
    floats = frame.assign(code=frame["code"].astype(float))
    np.testing.assert_array_equal(model.score(frame), model.score(floats))


def dated(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(day=pd.Timestamp("2026-01-01"))


@pytest.mark.parametrize(
    ("options", "change", "because"),
    [
        ({}, lambda f: f.head(10), "10 rows with a label"),
        ({}, lambda f: f.assign(left=None), "0 rows with a label"),
        ({}, lambda f: f.assign(left="No"), "No"),
        ({"positive": "Y"}, lambda f: f, "Y"),
        ({"features": ("age",)}, lambda f: f, "there are: id, tenure, plan"),
        ({"exclude": ("tenure", "plan", "charge")}, lambda f: f, "no features"),
        ({}, dated, "exclude it, or derive numbers"),
        ({"estimator": "lightgbm.LGBMClassifer"}, lambda f: f, "LGBMClassifier"),
        ({"estimator": "lightgbn.LGBMClassifier"}, lambda f: f, "cannot be imported"),
        ({"estimator": "sklearn.metrics.accuracy_score"}, lambda f: f, "estimator"),
        (
            {"estimator": "sklearn.linear_model.LogisticRegression", "params": {"c": 1}},
            lambda f: f,
            "no parameter c; it has: C",
        ),
        ({"task": "regression", "positive": None}, lambda f: f, "left"),
    ],
)
def test_errors_say_what_exists(options: dict[str, Any], change: Any, because: str) -> None:
    with pytest.raises(ModelError, match=because):
        train(spec(**options), change(customers()))


@pytest.mark.parametrize(
    ("options", "because"),
    [
        ({"task": "clustering"}, "classification, regression"),
        ({"positive": None}, "needs `positive`"),
        ({"primary_key": ()}, "primary key"),
        ({"test_share": 1.0}, "between 0 and 1"),
        ({"estimator": "LGBMClassifier"}, "import path"),
    ],
)
def test_a_wrong_specification_is_refused_at_once(options: dict[str, Any], because: str) -> None:
    with pytest.raises(ModelError, match=because):
        spec(**options)


def test_the_digest_names_everything_that_changes_a_model() -> None:
    assert spec().digest() == spec().digest()
    others = [
        {"features": ("tenure",)},
        {"exclude": ("plan",)},
        {"params": {}},
        {"seed": 1},
        {"test_share": 0.3},
        {"split_salt": "x"},
        {"estimator": "sklearn.svm.SVC"},
        {"categorical": ("tenure",)},
        {"positive": "No"},
    ]
    assert len({spec().digest(), *(spec(**o).digest() for o in others)}) == len(others) + 1
