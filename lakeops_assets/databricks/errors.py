"""What goes wrong with Databricks, as sentences."""

from __future__ import annotations

from collections.abc import Sequence


class DatabricksError(ValueError):
    """Something about Databricks is not as it has to be."""


class EnvelopeError(DatabricksError):
    """An envelope contradicts itself."""


class RemoteSpecError(DatabricksError):
    """What a product says about its jobs cannot be used."""


class PolicyError(DatabricksError):
    """The workspace does not have the policy that the envelope asks for."""


class WorkspaceError(DatabricksError):
    """A workspace cannot be reached or refused a request."""


class BeyondEnvelopeError(DatabricksError):
    """A run asks for more than its envelope allows; nothing was submitted.

    Attributes:
        fields: Fields that are beyond.
    """

    def __init__(self, message: str, fields: Sequence[str]) -> None:
        super().__init__(message)
        self.fields = tuple(fields)


class PolicyBreachError(WorkspaceError):
    """The workspace refused a cluster because of its policy.

    Attributes:
        field: Attribute of the cluster.
    """

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field
