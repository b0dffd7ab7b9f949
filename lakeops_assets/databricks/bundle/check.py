"""Whether a bundle is one: the shape of all its parts, and then what shapes do not know."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lakeops_assets.databricks.bundle.build import Bundle
from lakeops_assets.databricks.bundle.references import unresolved
from lakeops_assets.databricks.bundle.rules import RULES
from lakeops_assets.databricks.bundle.shapes import (
    REFERENCE,
    Finding,
    Several,
    Shape,
    fits,
    lost,
    permissions,
    resource_shapes,
)
from lakeops_assets.databricks.workspace import INSTALL, WorkspaceError

# Kinds that bundles have and this does not check; each is named in a note.
UNCHECKED = (
    *("alerts", "apps", "catalogs", "clusters", "dashboards", "database_catalogs"),
    *("database_instances", "external_locations", "genie_spaces", "instance_pools", "job_runs"),
    *("models", "pipelines", "postgres_branches", "postgres_catalogs", "postgres_databases"),
    *("postgres_endpoints", "postgres_projects", "postgres_roles", "postgres_synced_tables"),
    *("secret_scopes", "secrets", "sql_warehouses", "synced_database_tables"),
    *("vector_search_endpoints", "vector_search_indexes"),
)
_AUTH = ("host", "profile", "auth_type", "client_id", "account_id", "workspace_id")
_MODES = ("development", "production")
# Parts of a bundle that only the vendor's command line uses; their insides are not checked.
_FREE = ("artifacts", "environments", "experimental", "python", "scripts", "sync")


def check(bundle: Bundle) -> list[Finding]:
    """Return what is wrong with a bundle; empty when nothing is.

    It needs no workspace and no command line of the vendor's, and so cannot say that a workspace
    takes it: only that each field is one that the SDK sends, and that the parts fit together.

    Raises:
        WorkspaceError: Databricks' SDK is not installed.
    """
    try:
        import databricks.sdk  # noqa: F401
    except ImportError as error:
        raise WorkspaceError(f"Databricks' SDK is not installed; {INSTALL}") from error
    config = bundle.config
    shaped = list(_shapes(config))
    if shaped:
        return shaped  # rules may take the shape of what they read for granted
    found = [*_targets(config), *unresolved(config)]
    for kind, resources in config.get("resources", {}).items():
        shape = resource_shapes().get(kind)
        if shape is None:
            continue
        for key, resource in resources.items():
            path = f"resources.{kind}.{key}"
            found += lost(resource, shape, path)
            found += RULES[kind](resource, path, bundle)
    return found


def unchecked(bundle: Bundle) -> tuple[str, ...]:
    """Return the kinds of resources of a bundle that are not checked."""
    return tuple(kind for kind in bundle.config.get("resources", {}) if kind in UNCHECKED)


def _shapes(config: Mapping[str, Any]) -> Iterator[Finding]:
    for finding in fits(config, _root(), ""):
        yield Finding(finding.path.removeprefix("."), finding.reason)


def _root() -> Shape:
    from databricks.sdk.service import iam, jobs

    resources = Shape(
        {
            **{kind: Several(shape, keyed=True) for kind, shape in resource_shapes().items()},
            **dict.fromkeys(UNCHECKED, dict),
        }
    )
    bundle = Shape(
        {"name": str, "uuid": str, "databricks_cli_version": str, "engine": str, "git": dict}
        | {"deployment": dict, "cluster_id": str, "compute_id": str},
        frozenset({"name"}),
    )
    workspace = Shape(
        dict.fromkeys((*_AUTH, "root_path", "file_path", "artifact_path", "state_path"), str)
        | {"resource_path": str, "azure_workspace_resource_id": str, "azure_tenant_id": str}
        | {"azure_client_id": str, "azure_environment": str, "azure_use_msi": bool}
        | {"azure_login_app_id": str, "google_service_account": str}
    )
    presets = Shape(
        {"name_prefix": str, "trigger_pause_status": str, "jobs_max_concurrent_runs": int}
        | {"pipelines_development": bool, "source_linked_deployment": bool}
        | {"artifacts_dynamic_version": bool, "tags": dict[str, str]}
    )
    lookup = Shape(
        dict.fromkeys(("alert", "cluster", "cluster_policy", "dashboard", "instance_pool"), str)
        | dict.fromkeys(("job", "metastore", "notification_destination", "pipeline", "query"), str)
        | {"service_principal": str, "warehouse": str}
    )
    variable = Shape({"default": Any, "description": str, "lookup": lookup, "type": str})
    shared = {
        "permissions": permissions(iam.PermissionLevel),
        "presets": presets,
        "run_as": jobs.JobRunAs,
        "workspace": workspace,
        "artifacts": dict,
        "sync": dict,
    }
    target = Shape(
        {**shared, "mode": str, "default": bool, "cluster_id": str, "compute_id": str, "git": dict}
        | {"bundle": Shape(bundle.fields), "resources": dict, "variables": dict}
    )
    return Shape(
        {
            **shared,
            **dict.fromkeys(_FREE, dict),
            "bundle": bundle,
            "include": list[str],
            "resources": resources,
            "targets": Several(target, keyed=True),
            "variables": Several(variable, keyed=True),
        },
        frozenset({"bundle"}),
    )


def _targets(config: Mapping[str, Any]) -> Iterator[Finding]:
    targets = config.get("targets", {})
    defaults = [name for name, target in targets.items() if target.get("default")]
    if len(defaults) > 1:
        yield Finding("targets", f"more than one is the default: {', '.join(defaults)}")
    declared = config.get("variables", {})
    shapes = resource_shapes()
    for name, target in targets.items():
        path = f"targets.{name}"
        mode = target.get("mode")
        if mode not in (None, *_MODES):
            yield Finding(f"{path}.mode", f"is {mode!r}; use one of: {', '.join(_MODES)}")
        workspace = {**config.get("workspace", {}), **target.get("workspace", {})}
        if mode == "production" and "root_path" not in workspace:
            reason = "is missing: a production target is deployed to one place, whoever deploys it"
            yield Finding(f"{path}.workspace.root_path", reason)
        for field in _AUTH:
            if REFERENCE.search(str(workspace.get(field, ""))):
                reason = "cannot be a reference: it is needed before references are resolved"
                yield Finding(f"{path}.workspace.{field}", reason)
        for variable in target.get("variables", {}):
            if variable not in declared:
                there = ", ".join(sorted(declared)) or "none"
                reason = f"there is no such variable; there are: {there}"
                yield Finding(f"{path}.variables.{variable}", reason)
        for kind, resources in target.get("resources", {}).items():
            place = f"{path}.resources.{kind}"
            if kind in shapes:
                yield from fits(resources, Several(shapes[kind], keyed=True), place, partial=True)
            elif kind not in UNCHECKED:
                there = ", ".join(sorted((*shapes, *UNCHECKED)))
                yield Finding(place, f"there is no such kind; there are: {there}")
