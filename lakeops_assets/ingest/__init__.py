"""Landing files and topics to bronze tables: exactly once, with provenance, by a schema policy.

Owns which files were seen and what became of each; a bad file never stops the good ones.
"""

from lakeops_assets.ingest.commit import IngestResult
from lakeops_assets.ingest.files import LandingFile
from lakeops_assets.ingest.ingest import ingest
from lakeops_assets.ingest.ledger import FileOutcome, ledger_table, outcomes, pending, recover
from lakeops_assets.ingest.rewrite import LandingRows, find_rows, remove_rows
from lakeops_assets.ingest.screen import Screen, Screened
from lakeops_assets.ingest.spec import Column, IngestError, IngestSpec, Topic
from lakeops_assets.ingest.stream import StreamSpec, Surroundings, is_streaming, stream

__all__ = [
    "Column",
    "FileOutcome",
    "IngestError",
    "IngestResult",
    "IngestSpec",
    "LandingFile",
    "LandingRows",
    "Screen",
    "Screened",
    "StreamSpec",
    "Surroundings",
    "Topic",
    "find_rows",
    "ingest",
    "is_streaming",
    "ledger_table",
    "outcomes",
    "pending",
    "recover",
    "remove_rows",
    "stream",
]
