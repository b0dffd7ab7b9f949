"""The one place that reads the environment.

Every other module receives a `Settings` value, so a test can build one by hand and nothing
depends on variables that were set somewhere else.
"""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PROJECT_MARKERS = ("workspace.yaml", "dg.toml")

# Nothing phones home: each of these switches the telemetry of one dependency off.
NO_TELEMETRY = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DAGSTER_DISABLE_TELEMETRY": "yes",
    "DO_NOT_TRACK": "1",
    # Prices of language models would be looked up on GitHub at the first call.
    "MLFLOW_MODEL_CATALOG_URI": "",
}


class SettingsError(ValueError):
    """A variable of the environment has a value that cannot be used."""


@dataclass(frozen=True)
class Prices:
    """What computing costs; the defaults are of the size of a small machine in a cloud.

    Attributes:
        cpu_hour: Of one core for an hour (`LAKEOPS_PRICE_CPU_HOUR`).
        gigabyte: Of reading or writing 1e9 bytes (`LAKEOPS_PRICE_GIGABYTE`).
        currency: Of both (`LAKEOPS_CURRENCY`).
    """

    cpu_hour: float = 0.05
    gigabyte: float = 0.001
    currency: str = "USD"


@dataclass(frozen=True)
class SparkOptions:
    """How the Spark engine starts; other engines do not read it.

    Attributes:
        remote: Address of a Spark Connect server, `sc://...`; a local Spark when empty
            (`LAKEOPS_SPARK_REMOTE`).
        memory: Of a local Spark, such as `2g` (`LAKEOPS_SPARK_MEMORY`).
        cache: Where what is fetched once stays (`LAKEOPS_CACHE`).
        ivy_settings: File with Ivy's settings, to fetch Delta's jars from a mirror
            (`LAKEOPS_IVY_SETTINGS`).
        on_databricks: This is a Databricks cluster, which has a session
            (`DATABRICKS_RUNTIME_VERSION` is set there).
        confs: Further settings of the session (`LAKEOPS_SPARK_CONF`, `key=value;key=value`).
        java_home: Java of a local Spark (`JAVA_HOME`); the one on `PATH` when empty.
        packages: What a local session has beside Delta; `kafka` is there to be had. It follows
            from the products, not from the environment.
    """

    remote: str = ""
    memory: str = "2g"
    cache: Path = Path("~/.cache/lakeops").expanduser()  # noqa: RUF009 - a constant
    ivy_settings: str = ""
    on_databricks: bool = False
    confs: tuple[tuple[str, str], ...] = ()
    java_home: str = ""
    packages: tuple[str, ...] = ()


@dataclass(frozen=True)
class Settings:
    """Where state lives and under which names; built by `load`.

    Attributes:
        project: Folder that holds `workspace.yaml`, or the working directory without one.
        home: State root (`LAKEOPS_HOME`, default `.lakeops` in the project).
        environment: Catalog of every table and model (`LAKEOPS_ENV`, default `dev`).
        engine: Name of the lakehouse engine (`LAKEOPS_ENGINE`, default `duckdb`).
        products: Further folder of products (`LAKEOPS_DEFS`, default `defs` in the project), next
            to those that come with the package; need not exist.
        tracking_uri: MLflow store (`MLFLOW_TRACKING_URI`, default SQLite under `home`).
        dagster_home: Folder of the Dagster instance (`DAGSTER_HOME`).
        actor: Who acts (`LAKEOPS_ACTOR`, default the login name). Free text, not proven identity.
        mlflow_url: Where the MLflow UI answers (`LAKEOPS_MLFLOW_URL`); only used for links.
        dagster_url: Where the Dagster UI answers (`LAKEOPS_DAGSTER_URL`); only used for links.
        prices: What computing costs.
        spark: How the Spark engine starts.
        landing_folder: Folder that producers drop files into (`LAKEOPS_LANDING`, default `landing`
            under `home`), where it is to be a place that they may write to and the rest is none.
        unity_catalog: Catalog that `lakeops catalog` is about (`LAKEOPS_UNITY_CATALOG`):
            `databricks`, or the address of an open-source server; empty for none.
    """

    project: Path
    home: Path
    environment: str
    engine: str
    products: Path
    tracking_uri: str
    dagster_home: Path
    actor: str
    mlflow_url: str
    dagster_url: str
    prices: Prices = Prices()
    spark: SparkOptions = SparkOptions()
    landing_folder: Path | None = None
    unity_catalog: str = ""

    @property
    def lakehouse_root(self) -> Path:
        """Folder of all Delta tables: `<home>/lakehouse/<catalog>/<schema>/<table>`."""
        return self.home / "lakehouse"

    @property
    def landing_root(self) -> Path:
        """Folder that producers drop files into: `<landing>/<product>/<table>`."""
        return self.landing_folder or self.home / "landing"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints of streams, one folder per table and source."""
        return self.home / "checkpoints"

    @property
    def mlflow_root(self) -> Path:
        """Folder of the local MLflow store and its artifacts."""
        return self.home / "mlflow"

    def experiment(self, product: str) -> str:
        """Return the MLflow experiment of a product; Databricks wants a path in the workspace."""
        name = f"{self.environment}.{product}"
        scheme = self.tracking_uri.partition(":")[0]
        return f"/Shared/lakeops/{name}" if scheme == "databricks" else name

    def report(self, product: str, table: str) -> Path:
        """Return the file with the page about a monitored table."""
        return self.home / "reports" / product / f"{table}.html"

    def landing(self, product: str, table: str) -> Path:
        """Return the landing folder of one table."""
        return self.landing_root / product / table


def find_project(start: Path) -> Path:
    """Return the nearest folder at or above `start` with a project file, else `start`."""
    for folder in (start, *start.parents):
        if any((folder / marker).is_file() for marker in PROJECT_MARKERS):
            return folder
    return start


def load(env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Settings:
    """Read the settings.

    Args:
        env: Variables to read instead of those of this process.
        cwd: Directory to search the project from instead of the working directory.

    Raises:
        SettingsError: `LAKEOPS_ENV` is not usable as the name of a catalog, or a price is none.
    """
    env = os.environ if env is None else env
    project = find_project((cwd or Path.cwd()).resolve())
    home = _absolute(env.get("LAKEOPS_HOME") or ".lakeops", project)
    landing = env.get("LAKEOPS_LANDING")
    environment = env.get("LAKEOPS_ENV") or "dev"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", environment):
        raise SettingsError(
            f"LAKEOPS_ENV is {environment!r}: it names the catalog of every table, so it must be "
            "lower-case letters, digits and underscores, such as dev, staging or prod"
        )
    return Settings(
        project=project,
        home=home,
        environment=environment,
        engine=env.get("LAKEOPS_ENGINE") or "duckdb",
        products=_absolute(env.get("LAKEOPS_DEFS") or "defs", project),
        tracking_uri=env.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home / 'mlflow' / 'mlflow.db'}",
        dagster_home=_absolute(env.get("DAGSTER_HOME") or ".dagster_home", project),
        actor=env.get("LAKEOPS_ACTOR") or _login_name(),
        mlflow_url=env.get("LAKEOPS_MLFLOW_URL") or "http://127.0.0.1:5000",
        dagster_url=env.get("LAKEOPS_DAGSTER_URL") or "http://127.0.0.1:3000",
        prices=Prices(
            _price(env, "LAKEOPS_PRICE_CPU_HOUR", Prices.cpu_hour),
            _price(env, "LAKEOPS_PRICE_GIGABYTE", Prices.gigabyte),
            env.get("LAKEOPS_CURRENCY") or Prices.currency,
        ),
        spark=spark_options(env),
        landing_folder=_absolute(landing, project) if landing else None,
        unity_catalog=env.get("LAKEOPS_UNITY_CATALOG") or "",
    )


def spark_options(env: Mapping[str, str] | None = None) -> SparkOptions:
    """Read how the Spark engine starts.

    Args:
        env: Variables to read instead of those of this process.

    Raises:
        SettingsError: The address is none of Spark Connect, or the memory is no size.
    """
    env = os.environ if env is None else env
    remote = env.get("LAKEOPS_SPARK_REMOTE") or SparkOptions.remote
    if remote and not remote.startswith("sc://"):
        raise SettingsError(
            f"LAKEOPS_SPARK_REMOTE is {remote!r}: the address of a Spark Connect server starts "
            "with sc://, such as sc://localhost:15002"
        )
    memory = env.get("LAKEOPS_SPARK_MEMORY") or SparkOptions.memory
    if not re.fullmatch(r"[1-9][0-9]*[mgMG]", memory):
        raise SettingsError(f"LAKEOPS_SPARK_MEMORY is {memory!r}: write a size such as 2g or 800m")
    cache = env.get("LAKEOPS_CACHE")
    return SparkOptions(
        remote=remote,
        memory=memory,
        cache=Path(cache).expanduser().resolve() if cache else SparkOptions.cache,
        ivy_settings=env.get("LAKEOPS_IVY_SETTINGS") or SparkOptions.ivy_settings,
        on_databricks=bool(env.get("DATABRICKS_RUNTIME_VERSION")),
        confs=_pairs(env.get("LAKEOPS_SPARK_CONF") or ""),
        java_home=env.get("JAVA_HOME") or SparkOptions.java_home,
    )


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    pairs = [part.partition("=") for part in text.split(";") if part.strip()]
    if wrong := [key for key, equals, _ in pairs if not equals or not key.strip()]:
        raise SettingsError(
            f"LAKEOPS_SPARK_CONF has {wrong[0]!r}: write key=value pairs with ; between them"
        )
    return tuple((key.strip(), value.strip()) for key, _, value in pairs)


def unity_catalog_token(env: Mapping[str, str] | None = None) -> str:
    """Return the token of an open-source Unity Catalog (`LAKEOPS_UNITY_CATALOG_TOKEN`).

    It is no part of the settings: those are shown in the Dagster UI.
    """
    return (os.environ if env is None else env).get("LAKEOPS_UNITY_CATALOG_TOKEN") or ""


def switch_off_telemetry() -> None:
    """Set the variables that keep dependencies from phoning home, where they are not set."""
    for name, value in NO_TELEMETRY.items():
        os.environ.setdefault(name, value)


def _price(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(name) or str(default)
    try:
        price = float(text)
    except ValueError:
        price = -1.0
    if not 0 <= price < float("inf"):
        raise SettingsError(f"{name} is {text!r}: a price is a number from 0 on, such as {default}")
    return price


def _absolute(path: str, base: Path) -> Path:
    return (base / Path(path).expanduser()).resolve()


def _login_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container user without an entry in the password file
        return "unknown"
