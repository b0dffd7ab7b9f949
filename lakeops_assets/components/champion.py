"""The version that scores: it changes only through the gates, approvals and the ledger."""

from typing import Any

import dagster as dg

from lakeops_assets.components import training
from lakeops_assets.components.names import LAYER, LEDGER, REGISTERED_NAME, STATE
from lakeops_assets.components.promotable import Promotable
from lakeops_assets.components.resources import LakeopsResource
from lakeops_assets.promotion import Advance, LedgerEntry, PromotionPlan

HISTORY_ROWS = 10


def champion_asset(promotable: Promotable, registered: str) -> dg.AssetsDefinition:
    """Return the champion of a model."""
    names = promotable.names

    @dg.asset(
        key=names.champion,
        deps=[names.version],
        group_name=names.product,
        kinds={"mlflow"},
        description=f"Version of `{registered}` that scores; changes only through the gates, the "
        "approvals that the environment asks for, and the ledger.",
        metadata={
            LAYER: "model",
            REGISTERED_NAME: registered,
            **promotable.as_metadata(),
        },
    )
    def champion(
        context: dg.AssetExecutionContext, lakeops: LakeopsResource
    ) -> dg.MaterializeResult:
        before = promotable.ledger(lakeops).head()
        done = promotable.advance(lakeops, context.run_id)
        context.log.info("%s: %s", done.plan.action, done.result.reason)
        if done.difference.step != "nothing":
            context.log.warning("%s: %s", done.difference.step, done.difference.reason)
        metadata = champion_metadata(promotable, done, lakeops)
        if done.plan.action == "wait":
            # On the candidate's page as well: without a champion this asset has none to show it on.
            asked = {k: metadata[k] for k in ("approve", "plan", "gates", "candidate")}
            context.log_event(dg.AssetObservation(names.version, metadata=asked))
        if done.result.champion is None:
            raise dg.Failure(
                no_champion(promotable, done.plan), metadata=metadata, allow_retries=False
            )
        return dg.MaterializeResult(
            metadata=metadata,
            data_version=dg.DataVersion(f"v{done.result.champion}"),
            tags={
                STATE: lakeops.state_id(),
                LEDGER: str(promotable.seen(lakeops, before, context.run_id)),
            },
        )

    return champion


def no_champion(promotable: Promotable, plan: PromotionPlan) -> str:
    """Return why there is no champion, and what to do."""
    if plan.action == "wait":
        return (
            f"{plan.model} has no champion: version {plan.candidate} waits, {plan.reason}. Approve "
            f"it with the job {promotable.prefix}_approve, or with `lakeops approve "
            f'{promotable.names.product} --plan {plan.digest[:12]} --reason "…" --as NAME`'
        )
    return (
        f"{plan.model} has no champion: version {plan.candidate} was refused because {plan.reason}"
    )


def champion_metadata(
    promotable: Promotable, done: Advance, lakeops: LakeopsResource
) -> dict[str, Any]:
    """Return what the champion shows: which version, why, who approved, and what was before."""
    plan, result = done.plan, done.result
    entries = promotable.ledger(lakeops).entries(plan.model)
    gates = _table(
        ("gate", "verdict", "found"),
        ((r.gate, "passed" if r.passed else "**failed**", r.reason) for r in plan.verdict.results),
    )
    shown: dict[str, Any] = {
        "champion": result.champion or 0,
        "candidate": plan.candidate,
        "promoted": result.promoted,
        "action": plan.action,
        "reason": result.reason,
        "plan": plan.digest[:12],
        "gates": dg.MetadataValue.md(gates),
        "history": dg.MetadataValue.md(history_table(entries[-HISTORY_ROWS:])),
        "mlflow": dg.MetadataValue.md(
            training.version_link(lakeops.mlflow_url, plan.model, result.champion or plan.candidate)
        ),
    }
    if plan.standing.approvals:
        names = ", ".join(f"{e.actor}: {e.reason}" for e in plan.standing.approvals)
        shown["approved_by"] = names
    if plan.action == "wait":
        shown["approve"] = dg.MetadataValue.md(approval_links(promotable, plan))
    if result.replaced is not None:
        shown["replaced"] = result.replaced
    if done.difference.step != "nothing":
        shown["reconciled"] = done.difference.reason
    return shown


def approval_links(promotable: Promotable, plan: PromotionPlan) -> str:
    """Return links that open the Launchpad with everything filled in but the names and reasons."""
    from urllib.parse import quote

    import yaml

    links = []
    for decision in ("approve", "reject"):
        config = {
            "ops": {
                f"{promotable.prefix}_approve_plan": {
                    "config": {
                        "plan": plan.digest,
                        "decision": decision,
                        "approver": "",
                        "reason": "",
                    }
                }
            }
        }
        text = quote(yaml.safe_dump(config, sort_keys=False))
        # The route is not documented; without it: Jobs, <product>_approve, Launchpad.
        where = f"/locations/lakeops_assets/jobs/{promotable.prefix}_approve/playground/setup"
        name = f"{decision.capitalize()} version {plan.candidate}"
        links.append(f"[{name}]({where}?mode=default&config={text})")
    return f"{plan.reason}: {' · '.join(links)}"


def history_table(entries: tuple[LedgerEntry, ...]) -> str:
    """Return events as a markdown table, newest first."""
    return _table(
        ("event", "when", "action", "version", "replaced", "by", "reason"),
        (
            (
                str(e.sequence),
                f"{e.at:%Y-%m-%d %H:%M}",
                e.action,
                "" if e.version is None else str(e.version),
                "" if e.replaced is None else str(e.replaced),
                e.actor,
                e.reason,
            )
            for e in reversed(entries)
        ),
    )


def _table(header: tuple[str, ...], rows: Any) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    escaped = (
        tuple(cell.replace("|", "\\|").replace("\n", " ") for cell in line) for line in lines
    )
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)
