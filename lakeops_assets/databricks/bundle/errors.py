"""What goes wrong with a bundle, as sentences."""

from lakeops_assets.databricks.errors import DatabricksError


class BundleError(DatabricksError):
    """A bundle cannot be made of what is declared, or a file of one cannot be read."""
