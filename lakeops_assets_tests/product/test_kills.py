"""A run that is killed at each of its steps in turn ends like one that nobody disturbed."""

from __future__ import annotations

import json
from pathlib import Path

from command_line import lakeops
from kill_drill import fingerprint

# What is replaced by a function that kills the process, in the order in which a run comes to it.
# "after" lets the step do its work first.
STEPS = (
    ("lakeops_assets.samples.replay", "_write", "before"),
    ("lakeops_assets.ingest.ingest", "record", "before"),
    ("lakeops_assets.lakehouse.lakehouse", "Lakehouse.merge", "after"),
    ("lakeops_assets.components.training", "models.train", "after"),
    ("lakeops_assets.models.training_log", "save_model", "after"),
    ("lakeops_assets.models.registry", "ModelRegistry.log_training", "after"),
    ("lakeops_assets.models.registry", "ModelRegistry.register", "after"),
    ("lakeops_assets.components.gates", "measure", "after"),
    ("lakeops_assets.components.gates", "record_results", "after"),
    ("lakeops_assets.promotion.ledger", "Ledger._commit", "after"),
    ("lakeops_assets.models.registry", "ModelRegistry.set_alias", "after"),
    ("lakeops_assets.components.training", "write_baseline", "after"),
    ("lakeops_assets.components.scoring", "score", "after"),
)
KILL = """
import functools, importlib, operator, os, signal
module, path, when = {step}
*owners, name = path.split('.')
owner = functools.reduce(getattr, owners, importlib.import_module(module))
real = getattr(owner, name)
def killed(*args, **kwargs):
    if when == 'after':
        real(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(owner, name, killed)
"""


def test_killed_at_every_step(finished: Path, tmp_path: Path) -> None:
    for step in STEPS:
        done = lakeops(tmp_path, "run", "churn", before=KILL.format(step=step))
        assert done.returncode == -9, (step, done.stdout, done.stderr)
    done = lakeops(tmp_path, "run", "churn", "--json")
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["succeeded"]
    expected = fingerprint(finished)
    assert fingerprint(tmp_path) == expected
    assert len(expected) > 10
