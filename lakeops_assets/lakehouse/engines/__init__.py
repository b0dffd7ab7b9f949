"""One Protocol, one file per engine with the same functions in the same order."""

from lakeops_assets.lakehouse.engines.protocol import Engine
from lakeops_assets.lakehouse.errors import UnsupportedError

ENGINES = ("duckdb",)


def create_engine(name: str) -> Engine:
    """Return the engine of that name; the one place where a name becomes an engine.

    Raises:
        UnsupportedError: No engine has that name.
    """
    if name == "duckdb":
        from lakeops_assets.lakehouse.engines.duckdb import DuckDBEngine

        return DuckDBEngine()
    raise UnsupportedError(
        f"there is no engine called {name!r}; set LAKEOPS_ENGINE to one of: {', '.join(ENGINES)}"
    )
