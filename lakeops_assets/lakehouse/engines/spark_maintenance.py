"""Maintaining tables with Spark: OPTIMIZE, clustering and VACUUM."""

from __future__ import annotations

from collections.abc import Sequence

from lakeops_assets.lakehouse.engines.deltars import open_table
from lakeops_assets.lakehouse.engines.protocol import Maintenance
from lakeops_assets.lakehouse.engines.spark_query import write_errors
from lakeops_assets.lakehouse.engines.spark_statements import SparkStatements
from lakeops_assets.lakehouse.errors import UnsupportedError
from lakeops_assets.lakehouse.statements import quote

# Features of tables that delta-rs does not write.
NOT_OF_DELTA_RS = frozenset({"clustering", "domainMetadata", "rowTracking"})


class SparkMaintenance(SparkStatements):
    """The part of `Engine` that keeps tables in shape."""

    def optimize(
        self, location: str, *, zorder: Sequence[str] = (), target_bytes: int | None = None
    ) -> Maintenance:
        """Rewrite small files into large ones, sorted by `zorder` when given."""
        sorting = f" ZORDER BY ({', '.join(map(quote, zorder))})" if zorder else ""
        confs = {}
        if target_bytes is not None:
            confs = {f"spark.databricks.delta.optimize.{k}FileSize": str(target_bytes)
                     for k in ("min", "max")}  # fmt: skip
        with self.setting(confs), self.committing(location):
            [row] = self.session.sql(f"OPTIMIZE delta.{quote(location)}{sorting}").collect()
        done = row["metrics"]
        return Maintenance(
            self.version(location), int(done["numFilesAdded"]), int(done["numFilesRemoved"])
        )

    def cluster(self, location: str, columns: Sequence[str]) -> None:
        """Let OPTIMIZE keep a table clustered by columns from now on, and by no other order."""
        listed = ", ".join(map(quote, columns))
        with self.committing(location):
            self.session.sql(f"ALTER TABLE delta.{quote(location)} CLUSTER BY ({listed})").collect()

    def vacuum(
        self,
        location: str,
        *,
        retention_hours: int,
        keep_versions: Sequence[int] = (),
        full: bool = False,
        dry_run: bool = True,
    ) -> Maintenance:
        """Delete files that no version younger than the retention needs.

        Through delta-rs, since Spark's VACUUM cannot keep versions; a table that delta-rs cannot
        write is vacuumed by Spark when there is none to keep.
        """
        features = set(open_table(location).protocol().writer_features or ())
        if not features & NOT_OF_DELTA_RS:
            return super().vacuum(
                location,
                retention_hours=retention_hours,
                keep_versions=keep_versions,
                full=full,
                dry_run=dry_run,
            )
        if keep_versions:
            raise UnsupportedError(
                f"the table at {location} is clustered, and Spark's VACUUM would delete the files "
                f"of the versions {', '.join(map(str, keep_versions))}, which are to be kept"
            )
        how = f"RETAIN {retention_hours} HOURS{' DRY RUN' if dry_run else ''}"
        unchecked = {"spark.databricks.delta.retentionDurationCheck.enabled": "false"}
        commit_to = write_errors if dry_run else self.committing
        with self.setting(unchecked), commit_to(location):
            stored = self.stored_files(location)
            rows = self.session.sql(f"VACUUM delta.{quote(location)} {how}").collect()
        if dry_run:
            files = tuple(row["path"].rpartition(f"{location}/")[2] for row in rows)
        else:
            files = tuple(sorted(stored.keys() - self.stored_files(location).keys()))
        return Maintenance(self.version(location), files_removed=len(files), files=files)
