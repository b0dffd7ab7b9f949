"""Names of tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from lakeops_assets.lakehouse import TableName, TableNameError


@pytest.mark.parametrize("text", ["dev.churn.features", "churn.features", "features"])
def test_missing_parts_come_from_the_defaults(text: str) -> None:
    name = TableName.parse(text, catalog="dev", schema="churn")
    assert str(name) == "dev.churn.features"
    assert name.location(Path("/lake")) == Path("/lake/dev/churn/features")
    assert str(name.beside("quarantine")) == "dev.churn.features_quarantine"


@pytest.mark.parametrize("text", ["features", "a.b.c.d", "", "a..b"])
def test_a_text_with_the_wrong_parts_is_refused(text: str) -> None:
    with pytest.raises(TableNameError, match=r"dev\.churn\.features|is not a name"):
        TableName.parse(text, catalog="dev")


@pytest.mark.parametrize("part", ["../etc", "a/b", "", "1st", "a b", "a-b"])
def test_a_part_cannot_leave_the_lakehouse(part: str) -> None:
    with pytest.raises(TableNameError, match="is not a name"):
        TableName("dev", part, "t")
