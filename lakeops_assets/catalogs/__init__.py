"""Catalogs of tables by three-part name: what is in them, and who may do what.

Knows Unity Catalog's vocabulary, the same for Databricks and for the open-source server.
"""

from lakeops_assets.catalogs.databricks import DatabricksCatalog as DatabricksCatalog
from lakeops_assets.catalogs.errors import CatalogChangedError as CatalogChangedError
from lakeops_assets.catalogs.errors import CatalogError as CatalogError
from lakeops_assets.catalogs.errors import GrantError as GrantError
from lakeops_assets.catalogs.grants import GrantRule as GrantRule
from lakeops_assets.catalogs.grants import GrantsSpec as GrantsSpec
from lakeops_assets.catalogs.grants import Securable as Securable
from lakeops_assets.catalogs.objects import Column as Column
from lakeops_assets.catalogs.objects import GrantChange as GrantChange
from lakeops_assets.catalogs.objects import Table as Table
from lakeops_assets.catalogs.objects import columns as columns
from lakeops_assets.catalogs.objects import normal_location as normal_location
from lakeops_assets.catalogs.open_source import OpenSourceCatalog as OpenSourceCatalog
from lakeops_assets.catalogs.plan import Act as Act
from lakeops_assets.catalogs.plan import CatalogPlan as CatalogPlan
from lakeops_assets.catalogs.plan import ChangeGrants as ChangeGrants
from lakeops_assets.catalogs.plan import CreateCatalog as CreateCatalog
from lakeops_assets.catalogs.plan import CreateSchema as CreateSchema
from lakeops_assets.catalogs.plan import Declared as Declared
from lakeops_assets.catalogs.plan import Observed as Observed
from lakeops_assets.catalogs.plan import RegisterTable as RegisterTable
from lakeops_assets.catalogs.plan import apply as apply
from lakeops_assets.catalogs.plan import observe as observe
from lakeops_assets.catalogs.plan import plan as plan
from lakeops_assets.catalogs.privileges import PRIVILEGES as PRIVILEGES
from lakeops_assets.catalogs.privileges import Kind as Kind
from lakeops_assets.catalogs.privileges import privilege as privilege
from lakeops_assets.catalogs.protocol import Catalog as Catalog
