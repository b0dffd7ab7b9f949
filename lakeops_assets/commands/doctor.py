"""`lakeops doctor`: what is missing, and how to fix it."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lakeops_assets.lakehouse import LakehouseError, open_lakehouse
from lakeops_assets.lakehouse.engines import create_engine
from lakeops_assets.promotion import Ledger, ledger_table
from lakeops_assets.settings import NO_TELEMETRY, Settings, SparkOptions

if TYPE_CHECKING:
    from dagster._core.definitions.assets.graph.base_asset_graph import BaseAssetGraph

PACKAGES = ("dagster", "deltalake", "duckdb", "lightgbm", "mlflow", "pyarrow", "sklearn", "sqlglot")
ENOUGH_DISK = 1 << 30


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        level: `ok`, `warning` (works, with a limit) or `problem` (something will fail).
        subject: What was looked at.
        found: What was found.
        fix: What to do; empty when nothing.
    """

    level: Literal["ok", "warning", "problem"]
    subject: str
    found: str
    fix: str = ""


def examine(settings: Settings) -> list[Finding]:
    """Look at everything; never raises for something that is wrong with the installation."""
    looks: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
        _python,
        _packages,
        _folders,
        _dagster,
        _engine,
        _tables,
        _contracts,
        _mlflow,
        _definitions,
        _promotions,
        _browser,
    )
    return [finding for look in looks for finding in look(settings)]


def _python(settings: Settings) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("ok", "python", version)


def _packages(settings: Settings) -> Iterator[Finding]:
    for name in PACKAGES:
        try:
            module = importlib.import_module(name)
        except ImportError as error:
            fix = "run `make install`"
            if "libgomp" in str(error) or "libomp" in str(error):
                fix = "install the OpenMP runtime: `apt install libgomp1` or `brew install libomp`"
            yield Finding("problem", f"package {name}", str(error), fix)
        except OSError as error:  # a shared library that LightGBM loads is missing
            fix = "install the OpenMP runtime: `apt install libgomp1` or `brew install libomp`"
            yield Finding("problem", f"package {name}", str(error), fix)
        else:
            yield Finding("ok", f"package {name}", str(getattr(module, "__version__", "installed")))


def _folders(settings: Settings) -> Iterator[Finding]:
    folders = {"LAKEOPS_HOME": settings.home, "DAGSTER_HOME": settings.dagster_home}
    for subject, folder in folders.items():
        there = next(p for p in (folder, *folder.parents) if p.exists())
        try:
            with tempfile.TemporaryFile(dir=there):
                pass
        except OSError as error:
            yield Finding(
                "problem", subject, f"{folder}: {error}", f"make it writable or set {subject}"
            )
            continue
        free = shutil.disk_usage(there).free
        if free < ENOUGH_DISK:
            yield Finding("warning", subject, f"{folder}: {free >> 20} MiB free", "free some disk")
        else:
            yield Finding("ok", subject, f"{folder}: {free >> 30} GiB free")


def _dagster(settings: Settings) -> Iterator[Finding]:
    config = settings.dagster_home / "dagster.yaml"
    if config.is_file():
        yield Finding("ok", "dagster.yaml", str(config))
    else:
        yield Finding(
            "warning",
            "dagster.yaml",
            f"{settings.dagster_home} has none, so Dagster's defaults hold",
            "`lakeops run` writes one",
        )
    if os.environ.get("DAGSTER_HOME") is None:
        yield Finding(
            "ok", "DAGSTER_HOME", "not set; `lakeops` and the .env file use the project's folder"
        )
    sending = [n for n in NO_TELEMETRY if n in os.environ and os.environ[n] != NO_TELEMETRY[n]]
    if sending:
        yield Finding(
            "warning", "telemetry", f"{', '.join(sending)} allow it", "unset the variables"
        )
    else:
        yield Finding("ok", "telemetry", "off")


def _engine(settings: Settings) -> Iterator[Finding]:
    try:
        engine = create_engine(settings.engine)
    except LakehouseError as error:
        yield Finding("problem", "engine", str(error), "set LAKEOPS_ENGINE")
        return
    yield Finding("ok", "engine", engine.name)
    if engine.name == "spark":
        yield from spark_findings(settings.spark)


def spark_findings(options: SparkOptions) -> Iterator[Finding]:
    """Look at what a Spark on this machine, or the way to another, needs."""
    from lakeops_assets.lakehouse.engines.spark_java import find_java, missing_jars, spark_home
    from lakeops_assets.lakehouse.engines.spark_session import connect_address, listens

    if options.on_databricks:
        yield Finding("ok", "spark", "the cluster's own")
        return
    if options.remote:
        host, port = connect_address(options.remote)
        if listens(host, port):
            yield Finding("ok", "spark", f"{options.remote} answers")
        else:
            fix = "start it, such as with `lakeops spark`, or correct LAKEOPS_SPARK_REMOTE"
            found = f"nobody answers at {host}, port {port}, of {options.remote}"
            yield Finding("problem", "spark", found, fix)
        return
    try:
        yield Finding("ok", "spark", str(spark_home()))
        java = find_java(options.java_home, options.cache)
    except LakehouseError as error:
        yield Finding("problem", "spark", str(error), "do what it says, or unset LAKEOPS_ENGINE")
        return
    yield Finding("ok", "java", f"{java.version}, {java.home} (from {java.source})")
    missing = missing_jars(options.cache)
    if missing:
        found = f"{len(missing)} of Delta's jars are not in {options.cache / 'jars'}"
        fix = "the first start of Spark fetches them, once; without a network set "
        yield Finding("warning", "jars", found, fix + "LAKEOPS_IVY_SETTINGS or copy them there")
    else:
        yield Finding("ok", "jars", str(options.cache / "jars"))


def _tables(settings: Settings) -> Iterator[Finding]:
    try:
        lakehouse = open_lakehouse(settings)
    except LakehouseError:
        return  # there is no such engine, which has been said
    tables = lakehouse.tables()
    broken = 0
    for table in tables:
        try:
            lakehouse.row_count(table)
            for _ in lakehouse.read(table, where="1 = 0"):
                pass
        except LakehouseError as error:
            broken += 1
            fix = "restore the missing files, or delete the folder and run `lakeops run`"
            yield Finding("problem", f"table {table}", str(error), fix)
    if not tables:
        yield Finding("warning", "tables", "none yet", "run `lakeops run`")
    elif not broken:
        yield Finding("ok", "tables", f"{len(tables)} readable")


def _contracts(settings: Settings) -> Iterator[Finding]:
    from lakeops_assets import contracts
    from lakeops_assets.commands.contracts import contract_files, holdings

    files = list(contract_files(settings))
    broken = 0
    for path in files:
        try:
            contracts.load(path)
        except contracts.ContractError as error:
            broken += 1
            yield Finding("problem", f"contract {path.name}", str(error), "correct the file")
    if files and not broken:
        yield Finding("ok", "contracts", f"{len(files)} can be read")
    try:
        found = holdings([], settings)
    except LakehouseError:
        return  # which tables cannot be read has been said
    for held in found:
        if held.open:
            product, table = held.table.split(".")[1:]
            fix = f"look with `lakeops quarantine explain {product}.{table}`"
            said = f"{held.open} rows wait: {', '.join(held.rules)}"
            yield Finding("warning", f"quarantine of {held.table}", said, fix)


def _mlflow(settings: Settings) -> Iterator[Finding]:
    if not settings.tracking_uri.startswith("sqlite:///"):
        yield Finding("ok", "MLflow store", settings.tracking_uri)
        return
    path = Path(settings.tracking_uri.removeprefix("sqlite:///"))
    if not path.is_file():
        yield Finding("warning", "MLflow store", f"{path} is not there yet", "run `lakeops run`")
        return
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
            (versions,) = connection.execute("SELECT count(*) FROM model_versions").fetchone()
    except sqlite3.Error as error:
        fix = f"move {path} away, or run `mlflow db upgrade {settings.tracking_uri}`"
        yield Finding("problem", "MLflow store", f"{path}: {error}", fix)
        return
    yield Finding("ok", "MLflow store", f"{path}: {versions} model versions")


def _definitions(settings: Settings) -> Iterator[Finding]:
    from dagster import DagsterError

    from lakeops_assets.commands.contracts import contract_files
    from lakeops_assets.components.contract_checks import CONTRACT
    from lakeops_assets.definitions import defs

    try:
        graph = defs().resolve_asset_graph()
    except (DagsterError, ValueError) as error:
        fix = "correct the file that the message names"
        yield Finding("problem", "definitions", _last_lines(error), fix)
        return
    keys = graph.materializable_asset_keys
    checked = {tuple(key.path) for key in keys if CONTRACT in graph.get(key).metadata}
    for path in contract_files(settings):
        product, table = path.parents[1].name, path.stem
        if (product, table) not in checked:
            found = f"{path} is the contract of no table of {product}, so nothing checks it"
            fix = "name it after a bronze table, a feature table or a table of scores"
            yield Finding("problem", f"contract {path.name}", found, fix)
    products = sorted({graph.get(key).group_name or "" for key in keys})
    yield Finding("ok", "definitions", f"{len(keys)} assets of {', '.join(products)}")
    yield from _databricks(graph)


def _databricks(graph: BaseAssetGraph[Any]) -> Iterator[Finding]:
    """Look for the extra that the jobs of some products need; whoever has none is asked nothing."""
    from lakeops_assets.components.databricks import remote_specs
    from lakeops_assets.databricks import INSTALL

    products = sorted(spec.product for spec in remote_specs(graph))
    if not products:
        return
    subject = "extra databricks"
    for module in ("databricks.sdk", "dagster_databricks"):
        try:
            there = importlib.util.find_spec(module) is not None
        except ModuleNotFoundError:
            there = False
        if not there:
            found = f"{module} is not there, and jobs of {', '.join(products)} need it"
            yield Finding("problem", subject, found, INSTALL)
            return
    yield Finding("ok", subject, f"there, for the jobs of {', '.join(products)}")


def _promotions(settings: Settings) -> Iterator[Finding]:
    """Compare the ledger with itself, with Delta's history and with the model registry."""
    from dagster import DagsterError
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    subject = f"ledger {ledger_table(settings.environment)}"
    known = (LakehouseError, DagsterError, MlflowException, SQLAlchemyError, ValueError, OSError)
    try:
        lakehouse = open_lakehouse(settings)
        events = Ledger(lakehouse).head()
        if not _has_store(settings):  # asking would create an empty one
            if events:
                found = f"{events} events are about models, and there is no MLflow store"
                yield Finding("problem", subject, found, "bring back the MLflow store")
            return
        from lakeops_assets.commands.promotion import troubles

        found_troubles = list(troubles(settings))
    except known as error:
        yield Finding("problem", subject, _last_lines(error), "mend what is named here first")
        return
    for trouble in found_troubles:
        level: Literal["problem", "warning"] = "problem" if trouble.failing else "warning"
        yield Finding(level, trouble.subject, trouble.found, trouble.fix)
    if not any(trouble.failing for trouble in found_troubles):
        yield Finding("ok", subject, f"{events} events, none changed")


def _has_store(settings: Settings) -> bool:
    sqlite = settings.tracking_uri.startswith("sqlite:///")
    return not sqlite or Path(settings.tracking_uri.removeprefix("sqlite:///")).is_file()


def _browser(settings: Settings) -> Iterator[Finding]:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found:
        yield Finding("ok", "browser", f"{found} (only the tests need it)")
    else:
        fix = "`make browser` installs Debian's chromium; elsewhere install Chrome or Chromium"
        yield Finding("warning", "browser", "none found; only the tests need one", fix)


def _last_lines(error: BaseException) -> str:
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return f"{type(cause).__name__}: {str(cause).strip()[:800]}"
