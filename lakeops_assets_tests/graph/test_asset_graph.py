"""The asset graph as a whole: a golden snapshot, and what loading it costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import dagster as dg
from syrupy.assertion import SnapshotAssertion

from lakeops_assets import settings
from lakeops_assets.definitions import defs

HEAVY = ("mlflow", "sklearn", "lightgbm", "pyspark", "torch", "matplotlib", "scipy")


def test_the_graph_is_as_it_was_agreed(
    config: settings.Settings, snapshot: SnapshotAssertion
) -> None:
    """Keys, dependencies, checks, kinds, sensors and jobs; `--snapshot-update` accepts a change."""
    definitions = defs()
    repository = definitions.get_repository_def()
    graph = repository.asset_graph
    assets = {
        key.to_user_string(): {
            "depends on": sorted(p.to_user_string() for p in graph.get(key).parent_keys),
            "group": graph.get(key).group_name,
            "kinds": sorted(graph.get(key).kinds),
            "checks": sorted(
                f"{c.name}{' (blocking)' if graph.get(c).blocking else ''}"
                for c in graph.get(key).check_keys
            ),
        }
        for key in graph.toposorted_asset_keys
    }
    sensors = {s.name: str(s.default_status.value) for s in repository.sensor_defs}
    jobs = sorted(n for n in repository.job_names if not n.startswith("__"))
    assert {"assets": assets, "sensors": sensors, "jobs": jobs} == snapshot


def test_every_asset_and_field_is_described(config: settings.Settings) -> None:
    for spec in defs().resolve_all_asset_specs():
        assert spec.description, spec.key
    from lakeops_assets import components

    models = ("TabularModel", "BatchScores", "Monitor", "KpiMonitor")
    others = ("PointInTimeFeatures", "Maintenance", "Budget", "Databricks", "Grants")
    for name in ("BronzeTable", "FeatureTable", *others, *models):
        component = getattr(components, name)
        assert issubclass(component, dg.Component)
        undescribed = [f for f, info in component.model_fields.items() if not info.description]
        assert not undescribed, (name, undescribed)


def test_the_definitions_can_be_loaded(config: settings.Settings) -> None:
    dg.Definitions.validate_loadable(defs())


def test_loading_the_definitions_imports_nothing_heavy() -> None:
    """Imports are counted and not timed; the CPU seconds are in benchmarks/README.md."""
    script = (
        "import json, sys, warnings\n"
        "warnings.simplefilter('ignore')\n"
        "from lakeops_assets.definitions import defs\n"
        "defs()\n"
        "print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    loaded = json.loads(done.stdout.splitlines()[-1])
    assert not [m for m in HEAVY if m in loaded]
