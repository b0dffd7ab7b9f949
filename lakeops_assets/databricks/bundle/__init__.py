"""Databricks asset bundles: written from facts about products, and checked without a workspace."""

from lakeops_assets.databricks.bundle.build import Bundle as Bundle
from lakeops_assets.databricks.bundle.build import bundle as bundle
from lakeops_assets.databricks.bundle.build import champion_variable as champion_variable
from lakeops_assets.databricks.bundle.check import Finding as Finding
from lakeops_assets.databricks.bundle.check import check as check
from lakeops_assets.databricks.bundle.check import unchecked as unchecked
from lakeops_assets.databricks.bundle.errors import BundleError as BundleError
from lakeops_assets.databricks.bundle.facts import BundleFacts as BundleFacts
from lakeops_assets.databricks.bundle.facts import CustomMetric as CustomMetric
from lakeops_assets.databricks.bundle.facts import Granted as Granted
from lakeops_assets.databricks.bundle.facts import Model as Model
from lakeops_assets.databricks.bundle.facts import Monitored as Monitored
from lakeops_assets.databricks.bundle.facts import Product as Product
from lakeops_assets.databricks.bundle.facts import Step as Step
from lakeops_assets.databricks.bundle.load import load as load
from lakeops_assets.databricks.bundle.render import FILE as FILE
from lakeops_assets.databricks.bundle.render import render as render
from lakeops_assets.databricks.bundle.render import write as write
