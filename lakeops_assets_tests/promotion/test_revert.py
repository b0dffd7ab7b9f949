"""A revert goes back to what was live before, once, and does not swing to and fro."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judged import GATES, HOUR, MODEL, OPEN, Model, judge

from lakeops_assets.lakehouse import Lakehouse
from lakeops_assets.promotion import (
    Entry,
    LedgerEntry,
    RevertPlan,
    RevertResult,
    advance,
    approve,
    carry_out_revert,
    plan_revert,
)
from lakeops_assets.promotion.ledger import sealed
from lakeops_assets.promotion.revert import going_back_to, was_reverted


@pytest.fixture
def model(lakehouse: Lakehouse) -> Model:
    """Versions 1, 2 and 3 were promoted one after the other."""
    model = Model(lakehouse, OPEN)
    for version in (1, 2, 3):
        model.promote(version)
    return model


def plan(
    model: Model,
    measured: int | None = None,
    cooldown: timedelta = timedelta(),
    to: int | None = None,
    reason: str = "log loss too high",
) -> RevertPlan:
    return plan_revert(
        model.ledger,
        model.registry,
        measured=measured,
        reason=reason,
        evidence={"log_loss": 0.9},
        cooldown=cooldown,
        now=model.now,
        to=to,
    )


def carry_out(model: Model, plan: RevertPlan) -> RevertResult:
    return carry_out_revert(
        model.ledger, model.registry, plan, actor="sensor", run_id="run", now=model.now
    )


def test_it_goes_back_to_the_version_that_was_live_before(model: Model) -> None:
    result = carry_out(model, plan(model, measured=3))
    assert (result.reverted, result.champion, result.replaced) == (True, 2, 3)
    assert model.registry.aliases == {"champion": 2}
    assert model.registry.tags[3]["lakeops.reverted"] == "log loss too high"
    entry = model.ledger.entries()[-1]
    assert (entry.action, entry.version, entry.replaced) == ("revert", 2, 3)
    assert entry.evidence["measured"] == {"log_loss": 0.9}
    assert (entry.actor, entry.reason) == ("sensor", "log loss too high")


def test_only_the_version_that_was_measured_is_reverted(model: Model) -> None:
    refused = plan(model, measured=2)
    assert refused.refusal == "version 2 was measured, and version 3 is champion now"
    assert not carry_out(model, refused).reverted
    assert model.registry.alias("champion") == 3


def test_an_alias_that_was_moved_does_not_say_where_to_go_back_to(model: Model) -> None:
    model.registry.set_alias("previous", 1)
    assert plan(model).target == 2


def test_without_a_version_before_it_is_refused(lakehouse: Lakehouse) -> None:
    model = Model(lakehouse)
    assert plan(model).refusal == f"{MODEL} has no champion"
    model.promote(1)
    assert "there is no version to go back to" in plan(model).refusal
    assert not carry_out(model, plan(model)).reverted


def test_it_needs_a_reason(model: Model) -> None:
    assert plan(model, reason=" ").refusal == "a revert needs a reason"


def test_it_never_goes_back_to_a_version_that_was_reverted_from(model: Model) -> None:
    assert carry_out(model, plan(model)).champion == 2
    assert carry_out(model, plan(model)).champion == 1
    assert "no version to go back to from version 1" in plan(model).refusal
    assert "version 3 cannot come back" in plan(model, to=3).refusal


def test_a_person_may_choose_a_version_that_was_live(model: Model) -> None:
    assert "live so far: 1, 2, 3" in plan(model, to=9).refusal
    assert carry_out(model, plan(model, to=1)).champion == 1


def test_a_version_that_came_back_is_left_alone_for_a_while(model: Model) -> None:
    day = timedelta(days=1)
    assert plan(model, cooldown=day).action == "revert", "live for the first time"
    carry_out(model, plan(model))
    model.now += HOUR
    refused = plan(model, measured=2, cooldown=day)
    assert refused.refusal.startswith("version 2 came back by a revert and is left alone until")
    model.now += day
    assert plan(model, measured=2, cooldown=day).action == "revert"


def test_a_target_that_lost_its_gates_is_refused(model: Model) -> None:
    judge(model.lakehouse, 2, champion=1, auc=0.1, data_version=9, after=timedelta(days=9))
    refused = plan(model)
    assert refused.refusal.startswith("version 2 did not pass its gates")
    assert model.registry.alias("champion") == 3


def test_what_was_reverted_from_is_not_promoted_again_by_itself(model: Model) -> None:
    """Its gates still pass; only a person brings it back, and then it has a while."""
    carry_out(model, plan(model))

    def step() -> str:
        return advance(
            model.ledger,
            model.registry,
            3,
            GATES,
            OPEN,
            actor="robot",
            run_id="",
            now=model.now,
        ).plan.action

    assert step() == "wait"
    assert model.registry.alias("champion") == 2
    waiting = model.plan(3)
    assert "was reverted from" in waiting.reason
    approve(
        model.ledger,
        model.registry,
        waiting,
        digest=waiting.digest,
        approver="bob",
        reason="the labels were wrong",
        now=model.now,
    )
    assert step() == "promote"
    assert model.registry.alias("champion") == 3
    refused = plan(model, measured=3, cooldown=timedelta(days=1))
    assert "by a promotion after it had been reverted from" in refused.refusal


def test_of_several_that_race_one_reverts(model: Model) -> None:
    plans = [plan(model, measured=3) for _ in range(4)]
    results: list[RevertResult] = []
    threads = [
        threading.Thread(target=lambda p=p: results.append(carry_out(model, p))) for p in plans
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(r.reverted for r in results) == [False, False, False, True]
    others = [r for r in results if not r.reverted]
    assert all("version 2 is now; nothing was changed" in r.reason for r in others)
    assert [e.action for e in model.ledger.entries()].count("revert") == 1


def chain(events: list[tuple[str, int]]) -> list[LedgerEntry]:
    """Return events as they could have happened: promotions, and reverts where one is possible."""
    from judged import NOW

    entries: list[LedgerEntry] = []
    for action, version in events:
        live = entries[-1].version if entries else None
        target = version if action == "promote" else going_back_to(entries)
        if target is None or target == live:
            continue
        entry = Entry(MODEL, action, target, live, "x", "x", NOW)  # type: ignore[arg-type]
        entries.append(sealed(entry, entries[-1] if entries else None))
    return entries


@given(st.lists(st.tuples(st.sampled_from(["promote", "revert"]), st.integers(1, 4)), max_size=25))
def test_reverts_never_reach_a_bad_version_and_come_to_an_end(events: list) -> None:
    entries = chain(events)
    for _ in range(10):
        target = going_back_to(entries)
        if target is None:
            break
        assert was_reverted(entries, target) is None
        assert any(e.version == target for e in entries)
        entries = [*entries]
        from judged import NOW

        back = Entry(MODEL, "revert", target, entries[-1].version, "x", "x", NOW)
        entries.append(sealed(back, entries[-1]))
    assert going_back_to(entries) is None
