"""One Protocol, one file per engine with the same functions in the same order."""

from lakeops_assets.lakehouse.engines.protocol import Engine
from lakeops_assets.lakehouse.errors import UnsupportedError
from lakeops_assets.settings import SparkOptions

ENGINES = ("duckdb", "spark")


def create_engine(name: str, spark: SparkOptions | None = None) -> Engine:
    """Return the engine of that name; the one place where a name becomes an engine.

    Args:
        name: One of `ENGINES`.
        spark: How Spark starts, should it be asked for; its defaults when None.

    Raises:
        UnsupportedError: No engine has that name.
    """
    if name == "duckdb":
        from lakeops_assets.lakehouse.engines.duckdb import DuckDBEngine

        return DuckDBEngine()
    if name == "spark":
        from lakeops_assets.lakehouse.engines.spark import SparkEngine

        return SparkEngine(spark or SparkOptions())
    raise UnsupportedError(
        f"there is no engine called {name!r}; set LAKEOPS_ENGINE to one of: {', '.join(ENGINES)}"
    )
