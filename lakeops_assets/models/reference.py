"""`churn@champion`: a model version as people name it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lakeops_assets.models.spec import ModelError

if TYPE_CHECKING:
    from lakeops_assets.models.registry import ModelRegistry


@dataclass(frozen=True)
class Reference:
    """A version of a model of a product.

    Attributes:
        product: Product.
        model: Name of the model within the product.
        at: Number of the version, or an alias.
    """

    product: str
    model: str
    at: str

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Return the reference that a text such as `churn@7` or `churn/model@previous` names.

        Raises:
            ModelError: It has another form.
        """
        match = re.fullmatch(r"(\w+)(?:/(\w+))?(?:@(\w+))?", text)
        if match is None:
            raise ModelError(
                f"{text!r} names no model version; write churn@champion, churn@7 or "
                "churn/model@previous"
            )
        return cls(match[1], match[2] or "model", match[3] or "champion")

    def resolve(self, registry: ModelRegistry) -> int:
        """Return the number of the version.

        Raises:
            ModelError: There is no such version or alias.
        """
        if self.at.isdigit():
            return registry.version(int(self.at)).version
        version = registry.alias(self.at)
        if version is not None:
            return version
        versions = registry.versions()
        aliases = sorted(f"{a} ({v.version})" for v in versions for a in v.aliases)
        raise ModelError(
            f"no version of {registry.name} carries the alias {self.at}; it has "
            f"{len(versions)} versions and the aliases: {', '.join(aliases) or 'none'}"
        )
