"""Tables by three-part name: read, write, merge, change feed, maintenance, time travel.

Owns every Delta table and the engines that touch them; no other room opens a table itself.
"""

from lakeops_assets.lakehouse.engines.protocol import (
    Capabilities,
    Capability,
    ChangesOf,
    Commit,
    CommitInfo,
    Engine,
    Maintenance,
    Mapped,
    Query,
    Source,
    TableAt,
    Transaction,
)
from lakeops_assets.lakehouse.engines.streams import FilesOf, RecordsOf
from lakeops_assets.lakehouse.errors import (
    ConcurrentWriteError,
    LakehouseError,
    QueryError,
    SchemaError,
    TableNotFoundError,
    UnsupportedError,
)
from lakeops_assets.lakehouse.lakehouse import Lakehouse, open_lakehouse
from lakeops_assets.lakehouse.maintenance import LockedVersionError
from lakeops_assets.lakehouse.maintenance_spec import (
    Locks,
    MaintenancePlan,
    MaintenancePolicy,
    MaintenanceResult,
)
from lakeops_assets.lakehouse.names import TableName, TableNameError

__all__ = [
    "Capabilities",
    "Capability",
    "ChangesOf",
    "Commit",
    "CommitInfo",
    "ConcurrentWriteError",
    "Engine",
    "FilesOf",
    "Lakehouse",
    "LakehouseError",
    "LockedVersionError",
    "Locks",
    "Maintenance",
    "MaintenancePlan",
    "MaintenancePolicy",
    "MaintenanceResult",
    "Mapped",
    "Query",
    "QueryError",
    "RecordsOf",
    "SchemaError",
    "Source",
    "TableAt",
    "TableName",
    "TableNameError",
    "TableNotFoundError",
    "Transaction",
    "UnsupportedError",
    "open_lakehouse",
]
