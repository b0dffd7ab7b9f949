"""Work on Databricks: cost envelopes, cluster policies, the shape of jobs, what a run cost.

Knows no Dagster. Databricks' SDK is optional and is imported inside the functions that talk to a
workspace; what is computed here can be printed and tested without one.
"""

from lakeops_assets.databricks.compute import Compute as Compute
from lakeops_assets.databricks.compute import cluster_of as cluster_of
from lakeops_assets.databricks.cost import Estimate as Estimate
from lakeops_assets.databricks.cost import RunCost as RunCost
from lakeops_assets.databricks.cost import estimate as estimate
from lakeops_assets.databricks.cost import run_cost as run_cost
from lakeops_assets.databricks.envelope import Breach as Breach
from lakeops_assets.databricks.envelope import CostEnvelope as CostEnvelope
from lakeops_assets.databricks.envelope import NodeType as NodeType
from lakeops_assets.databricks.envelope import cluster_breaches as cluster_breaches
from lakeops_assets.databricks.errors import BeyondEnvelopeError as BeyondEnvelopeError
from lakeops_assets.databricks.errors import DatabricksError as DatabricksError
from lakeops_assets.databricks.errors import EnvelopeError as EnvelopeError
from lakeops_assets.databricks.errors import PolicyBreachError as PolicyBreachError
from lakeops_assets.databricks.errors import PolicyError as PolicyError
from lakeops_assets.databricks.errors import RemoteSpecError as RemoteSpecError
from lakeops_assets.databricks.errors import WorkspaceError as WorkspaceError
from lakeops_assets.databricks.policy import PolicyPlan as PolicyPlan
from lakeops_assets.databricks.policy import apply_policy as apply_policy
from lakeops_assets.databricks.policy import plan_policy as plan_policy
from lakeops_assets.databricks.policy import policy_definition as policy_definition
from lakeops_assets.databricks.policy import policy_in_force as policy_in_force
from lakeops_assets.databricks.policy import stored_policy as stored_policy
from lakeops_assets.databricks.remote import RemoteSpec as RemoteSpec
from lakeops_assets.databricks.remote import breaches as breaches
from lakeops_assets.databricks.remote import require_within as require_within
from lakeops_assets.databricks.submit import Job as Job
from lakeops_assets.databricks.submit import idempotency_token as idempotency_token
from lakeops_assets.databricks.workspace import INSTALL as INSTALL
from lakeops_assets.databricks.workspace import connect as connect
from lakeops_assets.databricks.workspace import refusal as refusal
from lakeops_assets.databricks.workspace import talking as talking
