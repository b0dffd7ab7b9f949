"""What goes wrong with a catalog, as sentences."""


class CatalogError(ValueError):
    """Something about a catalog is not as it has to be."""


class GrantError(CatalogError):
    """A grant cannot be what it says."""


class CatalogChangedError(CatalogError):
    """A plan is not the plan any more; nothing was done."""
