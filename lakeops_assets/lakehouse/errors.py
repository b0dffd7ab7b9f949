"""Errors of the lakehouse: what, where, what exists, what to do next."""


class LakehouseError(Exception):
    """A table cannot be read or written as asked."""


class TableNotFoundError(LakehouseError):
    """No Delta table is at the location."""


class SchemaError(LakehouseError):
    """Columns or types do not fit the table."""


class QueryError(LakehouseError):
    """A statement cannot be parsed or run."""


class ConcurrentWriteError(LakehouseError):
    """Another writer changed the table at the same time; the write can be repeated."""


class UnsupportedError(LakehouseError):
    """The engine does not have the capability; the reason is in the message."""
