"""Train a recorded model again, in a process of its own: `python -m lakeops_assets.models.rebuild`.

The process may run the code of an older commit, so the files in the folder are the whole interface
and stay as they are: it reads `request.json` and writes `predictions.parquet` (the key and
`prediction`, in the order of the key) and `environment.json`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from lakeops_assets.lakehouse import Lakehouse, TableName
from lakeops_assets.lakehouse.engines import create_engine
from lakeops_assets.models.recipe import Recipe, code_digest, present_environment
from lakeops_assets.models.rows import read_rows
from lakeops_assets.models.split import HELD_OUT
from lakeops_assets.models.train import train
from lakeops_assets.settings import spark_options

REQUEST, PREDICTIONS, ENVIRONMENT = "request.json", "predictions.parquet", "environment.json"


def rebuild(folder: Path) -> None:
    """Do what the request in a folder says, and leave the answer there."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    request = json.loads((folder / REQUEST).read_text())
    recipe = Recipe.from_json(json.dumps(request["recipe"]))
    engine = create_engine(request["engine"], spark_options())
    lakehouse = Lakehouse(Path(request["root"]), request["catalog"], engine)
    table = TableName.parse(recipe.table, catalog=request["catalog"])
    frame = read_rows(lakehouse, recipe.spec, table, recipe.data_version)
    held_out = frame.pop(HELD_OUT).to_numpy(dtype=bool)
    scores = train(recipe.spec, frame[~held_out]).score(frame)
    keys = pa.Table.from_pandas(frame[list(recipe.spec.primary_key)], preserve_index=False)
    pq.write_table(keys.append_column("prediction", pa.array(scores)), folder / PREDICTIONS)
    answer = {
        "environment": asdict(present_environment()),
        "code_digest": code_digest(Path(__file__).parents[1]),
    }
    (folder / ENVIRONMENT).write_text(json.dumps(answer))


if __name__ == "__main__":
    rebuild(Path(sys.argv[1]))
