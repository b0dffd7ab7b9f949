"""A champion changes by a plan and a policy, ledger first; each other way leaves the old one."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta

import pytest
from judged import GATES, HOUR, MODEL, OPEN, STRICT, Model, Registry, judge

from lakeops_assets.lakehouse import Lakehouse
from lakeops_assets.promotion import (
    APPROVAL_TAG,
    APPROVER_TAG,
    ApprovalRefusedError,
    GatesNotPassedError,
    LedgerBrokenError,
    LedgerEntry,
    MetricGate,
    PolicyError,
    PromotionPlan,
    PromotionPolicy,
    PromotionRefusedError,
    advance,
    approve,
    carry_out_revert,
    live_champion,
    plan_promotion,
    plan_revert,
    policy_of,
    reconcile,
)


@pytest.fixture
def model(lakehouse: Lakehouse) -> Model:
    return Model(lakehouse)


@pytest.fixture
def strict(lakehouse: Lakehouse) -> Model:
    """Version 1 is champion, version 2 passed its gates and waits for an approval."""
    strict = Model(lakehouse, STRICT)
    strict.promote(1)
    judge(lakehouse, 2, champion=1)
    return strict


def say(
    model: Model, plan: PromotionPlan, who: str, *, reject: bool = False, reason: str = "looks good"
) -> LedgerEntry:
    return approve(
        model.ledger,
        model.registry,
        plan,
        digest=plan.digest[:12],
        approver=who,
        reason=reason,
        now=model.now,
        reject=reject,
    )


def step(model: Model, candidate: int) -> str:
    """Bring the champion up to date, as its asset does, and return what the plan was."""
    done = advance(
        model.ledger,
        model.registry,
        candidate,
        GATES,
        model.policy,
        actor="robot",
        run_id="run",
        now=model.now,
    )
    return done.plan.action


def old_champion_stands(model: Model) -> bool:
    live = live_champion(model.ledger, model.registry)
    return live.version == 1 and model.registry.alias("champion") == 1


# Without approvals


def test_promotion_moves_ledger_and_aliases(model: Model) -> None:
    judge(model.lakehouse, 1)
    assert model.carry_out(model.plan(1)).promoted
    judge(model.lakehouse, 2, champion=1)
    model.registry.aliases["challenger"] = 2
    result = model.carry_out(model.plan(2))
    assert (result.champion, result.replaced) == (2, 1)
    assert model.registry.aliases == {"champion": 2, "previous": 1}
    assert model.registry.tags[2]["lakeops.gates"] == "passed"
    entry = model.ledger.entries()[-1]
    assert (entry.action, entry.version, entry.replaced, entry.actor) == ("promote", 2, 1, "robot")
    assert entry.evidence["metrics"]["roc_auc"]["candidate"] == [0.85, 0.83, 0.87]
    assert set(entry.evidence["gates"]) == {g.name for g in GATES}
    assert model.registry.tags[2]["lakeops.ledger"] == f"2:{entry.hash}"
    again = model.plan(2)
    assert (again.action, model.carry_out(again).promoted) == ("keep", False)
    assert len(model.ledger.entries()) == 2


def test_a_refused_candidate_leaves_the_champion(model: Model) -> None:
    model.promote(1)
    judge(model.lakehouse, 2, champion=1, auc=0.7)
    plan = model.plan(2)
    assert plan.action == "refuse"
    assert "gate roc_auc failed" in plan.reason
    assert (model.carry_out(plan).champion, model.carry_out(plan).promoted) == (1, False)
    assert old_champion_stands(model)


def test_a_version_that_was_never_evaluated_is_refused(model: Model) -> None:
    model.promote(1)
    assert model.plan(2).reason == "version 2 was never evaluated"
    assert step(model, 2) == "refuse"
    assert old_champion_stands(model)


def test_a_comparison_with_a_former_champion_is_stale(model: Model) -> None:
    model.promote(1)
    model.promote(2)
    judge(model.lakehouse, 3, champion=1)
    plan = model.plan(3)
    assert plan.action == "refuse"
    assert "compared with champion 1, and there is champion 2 now" in plan.reason


def test_a_verdict_that_fell_after_the_plan_counts(model: Model) -> None:
    model.promote(1)
    judge(model.lakehouse, 2, champion=1)
    plan = model.plan(2)
    judge(model.lakehouse, 2, champion=1, auc=0.1, data_version=5, after=HOUR)
    with pytest.raises(GatesNotPassedError):
        model.carry_out(plan)
    assert old_champion_stands(model)


def test_the_digest_is_of_everything_that_matters_and_of_no_clock(model: Model) -> None:
    model.promote(1)
    judge(model.lakehouse, 2, champion=1)
    plan = model.plan(2)
    model.now += 1000 * HOUR
    assert model.plan(2).digest == plan.digest

    def other(registry: Registry = model.registry, gates: tuple = GATES, **policy: object) -> str:
        changed = replace(model.policy, **policy)
        return plan_promotion(model.ledger, registry, 2, gates, changed, now=model.now).digest

    class Retrained(Registry):
        def fingerprint(self, version: int) -> str:
            return "another model"

    class Newer(Registry):
        def data_version(self, version: int) -> int:
            return 5

    digests = {
        plan.digest,
        other(Retrained()),
        other(Newer()),
        other(gates=(MetricGate("roc_auc", at_least=0.7),)),
        other(approvals=2),
        other(author_may_approve=True),
    }
    judge(model.lakehouse, 2, champion=1, auc=0.86, data_version=5, after=HOUR)
    assert len(digests | {other()}) == 7
    assert len(plan.digest) == 64


def test_an_environment_that_nobody_thought_of_is_strict() -> None:
    declared = {"prod": PromotionPolicy(approvals=2)}
    needed = {e: policy_of(e, declared).approvals for e in ("dev", "staging", "prod", "prodd")}
    assert needed == {"dev": 0, "staging": 1, "prod": 2, "prodd": 1}
    assert not policy_of("prodd", declared).author_may_approve
    with pytest.raises(PolicyError, match="give 0 or more"):
        PromotionPolicy(approvals=-1)
    with pytest.raises(PolicyError, match="more than 0"):
        PromotionPolicy(approval_valid_hours=0)


# Approvals


def test_a_plan_waits_until_another_person_approves(strict: Model) -> None:
    plan = strict.plan(2)
    assert (plan.action, plan.missing, plan.not_from) == ("wait", 1, ("ann",))
    assert plan.digest[:12] in plan.reason
    assert "not from ann, who made the version" in plan.reason
    assert step(strict, 2) == "wait"
    assert old_champion_stands(strict)
    say(strict, plan, "Bob", reason="checked the slices")
    assert strict.registry.tags[2][APPROVAL_TAG] == "approved"
    approved = strict.plan(2)
    assert (approved.action, approved.digest) == ("promote", plan.digest)
    assert "was approved by Bob (checked the slices)" in approved.reason
    assert step(strict, 2) == "promote"
    assert strict.registry.alias("champion") == 2
    assert strict.actions() == [("promote", 1), ("approve", 2), ("promote", 2)]
    assert strict.ledger.entries()[-1].plan_digest == plan.digest


@pytest.mark.parametrize("who", ["ann", " Ann", "ANN "])
def test_way_past_a_gate_the_approver_is_the_author(strict: Model, who: str) -> None:
    with pytest.raises(ApprovalRefusedError, match="author of the version and may not approve"):
        say(strict, strict.plan(2), who)
    assert step(strict, 2) == "wait"
    assert old_champion_stands(strict)
    assert strict.actions() == [("promote", 1)]


def test_way_past_a_gate_nobody_knows_the_author(strict: Model) -> None:
    strict.registry.author = ""
    with pytest.raises(ApprovalRefusedError, match="nobody is recorded as the author"):
        say(strict, strict.plan(2), "bob")
    assert old_champion_stands(strict)
    strict.policy = replace(STRICT, author_may_approve=True)
    say(strict, strict.plan(2), "bob")
    assert step(strict, 2) == "promote"


def test_way_past_a_gate_the_approval_is_for_another_plan(strict: Model) -> None:
    seen = strict.plan(2)
    judge(strict.lakehouse, 2, champion=1, auc=0.86, data_version=5, after=HOUR)
    present = strict.plan(2)
    with pytest.raises(ApprovalRefusedError, match=f"the present plan for {MODEL} is"):
        approve(
            strict.ledger,
            strict.registry,
            present,
            digest=seen.digest,
            approver="bob",
            reason="fine",
            now=strict.now,
        )
    assert step(strict, 2) == "wait"
    assert old_champion_stands(strict)


def test_way_past_a_gate_an_old_approval_for_the_same_versions(strict: Model) -> None:
    """The champion came back by a revert: what was approved before it does not count any more."""
    say(strict, strict.plan(2), "bob")
    strict.promote(3)
    back = plan_revert(
        strict.ledger, strict.registry, measured=3, reason="too slow", now=strict.now
    )
    carry_out_revert(strict.ledger, strict.registry, back, actor="robot", run_id="", now=strict.now)
    plan = strict.plan(2)
    assert (plan.action, plan.champion, plan.standing.approvals) == ("wait", 1, ())
    assert old_champion_stands(strict)


@pytest.mark.parametrize("digest", ["", "abc", "0" * 64])
def test_the_start_of_a_digest_must_be_the_plans(strict: Model, digest: str) -> None:
    with pytest.raises(ApprovalRefusedError, match="look at it again with `lakeops plan promote`"):
        approve(
            strict.ledger,
            strict.registry,
            strict.plan(2),
            digest=digest,
            approver="bob",
            reason="fine",
            now=strict.now,
        )


def test_an_approval_needs_a_name_and_a_reason(strict: Model) -> None:
    with pytest.raises(ApprovalRefusedError, match="needs a reason"):
        say(strict, strict.plan(2), "bob", reason="  ")
    with pytest.raises(ApprovalRefusedError, match="needs the name"):
        say(strict, strict.plan(2), " ")


def test_one_person_does_not_count_twice(strict: Model) -> None:
    strict.policy = replace(STRICT, approvals=2)
    say(strict, strict.plan(2), "bob")
    with pytest.raises(ApprovalRefusedError, match="another person is needed"):
        say(strict, strict.plan(2), "BOB")
    assert strict.plan(2).missing == 1
    assert strict.plan(2).not_from == ("ann", "bob")
    say(strict, strict.plan(2), "cem")
    assert step(strict, 2) == "promote"


def test_what_did_not_pass_its_gates_cannot_be_approved(strict: Model) -> None:
    judge(strict.lakehouse, 3, champion=1, auc=0.5)
    with pytest.raises(ApprovalRefusedError, match=r"nothing to approve.*gate roc_auc failed"):
        say(strict, strict.plan(3), "bob")
    with pytest.raises(ApprovalRefusedError, match="champion already"):
        say(strict, strict.plan(1), "bob")


def test_an_approval_expires(strict: Model) -> None:
    say(strict, strict.plan(2), "bob")
    strict.now += timedelta(hours=169)
    plan = strict.plan(2)
    assert plan.action == "wait"
    assert "1 expired after 168 hours" in plan.reason
    assert step(strict, 2) == "wait"
    assert step(strict, 2) == "wait"
    assert strict.actions() == [("promote", 1), ("approve", 2), ("expire", 2)]
    assert old_champion_stands(strict)
    say(strict, strict.plan(2), "bob")
    assert step(strict, 2) == "promote"


def test_a_rejection_stands_until_something_changes(strict: Model) -> None:
    say(strict, strict.plan(2), "bob", reject=True, reason="too few seniors")
    plan = strict.plan(2)
    assert (plan.action, plan.reason) == ("refuse", "bob rejected it: too few seniors")
    with pytest.raises(ApprovalRefusedError, match="rejected it"):
        say(strict, plan, "cem")
    assert step(strict, 2) == "refuse"
    assert old_champion_stands(strict)
    judge(strict.lakehouse, 2, champion=1, auc=0.86, data_version=5, after=HOUR)
    assert strict.plan(2).action == "wait"


def test_a_rejection_after_the_plan_was_made_counts(strict: Model) -> None:
    say(strict, strict.plan(2), "bob")
    plan = strict.plan(2)
    say(strict, plan, "cem", reject=True, reason="wait")
    with pytest.raises(PromotionRefusedError, match="was rejected"):
        strict.carry_out(plan)
    assert old_champion_stands(strict)


# The registry's tag


def test_the_registrys_tag_counts_where_the_policy_says_so(strict: Model) -> None:
    strict.registry.tags[2] = {"approval_check": "Approved", APPROVER_TAG: "dora"}
    assert step(strict, 2) == "wait"
    strict.policy = replace(STRICT, accept_registry_tag=True)
    assert step(strict, 2) == "promote"
    approval = strict.ledger.entries()[1]
    assert (approval.action, approval.actor) == ("approve", "dora")
    assert approval.evidence["source"] == "registry"


@pytest.mark.parametrize(
    "tags", [{APPROVAL_TAG: "approved", APPROVER_TAG: "Ann"}, {APPROVAL_TAG: "approved"}]
)
def test_way_past_a_gate_a_tag_of_the_author_or_of_nobody(strict: Model, tags: dict) -> None:
    strict.policy = replace(STRICT, accept_registry_tag=True)
    strict.registry.tags[2] = tags
    assert step(strict, 2) == "wait"
    assert old_champion_stands(strict)
    assert strict.actions() == [("promote", 1)]


def test_a_tag_of_nobody_counts_where_the_policy_says_so(strict: Model) -> None:
    strict.policy = replace(STRICT, accept_registry_tag=True, unknown_may_approve=True)
    strict.registry.tags[2] = {APPROVAL_TAG: "APPROVED"}
    assert step(strict, 2) == "promote"
    assert strict.ledger.entries()[1].actor == "registry tag (identity unknown)"


def test_way_past_a_gate_a_tag_for_another_plan(strict: Model) -> None:
    strict.policy = replace(STRICT, approvals=2, accept_registry_tag=True)
    strict.registry.tags[2] = {APPROVAL_TAG: "approved", APPROVER_TAG: "dora"}
    assert step(strict, 2) == "wait"
    assert strict.plan(2).missing == 1
    judge(strict.lakehouse, 2, champion=1, auc=0.86, data_version=5, after=HOUR)
    assert step(strict, 2) == "wait"
    assert strict.plan(2).missing == 2
    assert old_champion_stands(strict)


def test_our_own_tag_is_no_second_approval(strict: Model) -> None:
    strict.policy = replace(STRICT, approvals=2, accept_registry_tag=True)
    say(strict, strict.plan(2), "bob")
    assert step(strict, 2) == "wait"
    assert strict.plan(2).missing == 1


# Two at once, kills, and hands


def test_way_past_a_gate_two_promoters_at_once(lakehouse: Lakehouse) -> None:
    model = Model(lakehouse, OPEN)
    model.promote(1)
    for version in (2, 3):
        judge(lakehouse, version, champion=1)
    plans = [model.plan(2), model.plan(3), model.plan(2)]
    outcomes: list[str] = []

    def promote(plan: PromotionPlan) -> None:
        try:
            outcomes.append(f"promoted {model.carry_out(plan).champion}")
        except PromotionRefusedError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=promote, args=(plan,)) for plan in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(o.startswith("promoted") for o in outcomes) == 1
    assert sum("plan again" in o for o in outcomes) == 2
    live = model.ledger.live(MODEL)
    assert live is not None
    assert live.version == model.registry.alias("champion")
    assert len(model.ledger.entries()) == 2


class KilledError(Exception):
    """Stands for SIGKILL: nothing after it runs."""


class Mortal(Registry):
    """A registry whose process dies at the nth write."""

    def __init__(self, other: Registry, writes: int) -> None:
        super().__init__(other.name, other.aliases, other.tags)
        self.writes = writes

    def _write(self) -> None:
        self.writes -= 1
        if self.writes < 0:
            raise KilledError

    def set_alias(self, alias: str, version: int) -> None:
        self._write()
        super().set_alias(alias, version)

    def set_version_tags(self, version: int, tags: dict) -> None:  # type: ignore[override]
        self._write()
        super().set_version_tags(version, tags)


@pytest.mark.parametrize("writes", range(5))
def test_way_past_a_gate_killed_between_ledger_and_alias(lakehouse: Lakehouse, writes: int) -> None:
    model = Model(lakehouse)
    model.promote(1)
    judge(lakehouse, 2, champion=1)
    calm = model.registry
    model.registry = Mortal(calm, writes)
    if writes < 4:
        with pytest.raises(KilledError):
            model.carry_out(model.plan(2))
    else:
        model.carry_out(model.plan(2))
    model.registry = calm
    live = live_champion(model.ledger, calm)
    # Until the alias has moved the old champion stays, and the reason says so.
    assert live.version == (1 if writes < 3 else 2)
    assert ("is not finished; champion 1 stays" in live.reason) == (writes < 3)
    assert step(model, 2) == "keep"
    assert calm.aliases == {"champion": 2, "previous": 1}
    assert live_champion(model.ledger, calm).version == 2
    assert model.actions() == [("promote", 1), ("promote", 2)]


def test_killed_before_the_first_champion_has_its_alias(lakehouse: Lakehouse) -> None:
    model = Model(lakehouse)
    judge(lakehouse, 1)
    calm, model.registry = model.registry, Mortal(model.registry, 0)
    with pytest.raises(KilledError):
        model.carry_out(model.plan(1))
    model.registry = calm
    assert live_champion(model.ledger, calm).version is None
    assert step(model, 1) == "keep"
    assert live_champion(model.ledger, calm).version == 1


@pytest.mark.parametrize("moved", [2, 3, None])
def test_way_past_a_gate_the_alias_is_moved_by_hand(model: Model, moved: int | None) -> None:
    model.promote(1)
    judge(model.lakehouse, 2, champion=1, auc=0.5)
    if moved is None:
        model.registry.delete_alias("champion")
    else:
        model.registry.set_alias("champion", moved)
    live = live_champion(model.ledger, model.registry)
    assert live.version == 1
    assert "was moved by hand" in live.reason
    assert step(model, 2) == "refuse"
    assert old_champion_stands(model)
    restored = model.ledger.entries()[-1]
    assert (restored.action, restored.version, restored.replaced) == ("restore", 1, moved)
    assert "was moved by hand" in restored.reason
    assert step(model, 2) == "refuse"
    assert len(model.ledger.entries()) == 2


def test_an_alias_that_went_back_to_the_version_before_was_moved_by_hand(model: Model) -> None:
    """It looks like a killed promotion; the note that the move was finished tells them apart."""
    model.promote(1)
    model.promote(2)
    model.registry.set_alias("champion", 1)
    assert live_champion(model.ledger, model.registry).version == 2
    assert step(model, 2) == "keep"
    assert model.actions()[-1] == ("restore", 2)
    assert model.registry.alias("champion") == 2


def test_a_champion_from_before_the_ledger_is_adopted_through_its_gates(model: Model) -> None:
    judge(model.lakehouse, 1)
    model.registry.set_alias("champion", 1)
    live = live_champion(model.ledger, model.registry)
    assert live.version is None
    assert "which no promotion put there" in live.reason
    assert step(model, 1) == "keep"
    entry = model.ledger.entries()[0]
    assert (entry.action, entry.version) == ("promote", 1)
    assert entry.reason.startswith("adopted")
    assert old_champion_stands(model)


@pytest.mark.parametrize("policy", [OPEN, STRICT])
def test_way_past_a_gate_an_alias_without_a_verdict_or_an_approval(
    lakehouse: Lakehouse, policy: PromotionPolicy
) -> None:
    model = Model(lakehouse, policy)
    judge(lakehouse, 1, auc=0.5 if policy is OPEN else 0.9)
    model.registry.set_alias("champion", 1)
    assert step(model, 1) == ("refuse" if policy is OPEN else "wait")
    assert live_champion(model.ledger, model.registry).version is None
    assert model.registry.alias("champion") is None
    assert model.actions() == [("restore", None)]


def test_way_past_a_gate_the_registry_is_unreachable(model: Model) -> None:
    model.promote(1)
    judge(model.lakehouse, 2, champion=1)
    plan = model.plan(2)

    class Unreachable(Registry):
        def alias(self, alias: str) -> int | None:
            raise ConnectionError("the registry does not answer")

    calm, model.registry = model.registry, Unreachable()
    with pytest.raises(ConnectionError):
        model.carry_out(plan)
    with pytest.raises(ConnectionError):
        live_champion(model.ledger, model.registry)
    model.registry = calm
    assert model.actions() == [("promote", 1)]
    assert old_champion_stands(model)


def test_way_past_a_gate_the_ledger_was_edited(model: Model) -> None:
    model.promote(1)
    judge(model.lakehouse, 2, champion=1)
    plan = model.plan(2)
    model.lakehouse.delete("lakeops.promotions", "sequence = 1")
    for attempt in (
        lambda: model.carry_out(plan),
        lambda: model.plan(2),
        lambda: live_champion(model.ledger, model.registry),
        lambda: reconcile(
            model.ledger,
            model.registry,
            GATES,
            OPEN,
            actor="robot",
            run_id="",
            now=model.now,
        ),
    ):
        with pytest.raises(LedgerBrokenError, match="event 1 is missing"):
            attempt()
    assert model.registry.alias("champion") == 1
