"""What an engine can stream from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class FilesOf:
    """The files of a folder as a stream.

    Its rows are `path`, `length` and `modificationTime` of files, not what is in them.

    Attributes:
        folder: Searched with its sub-folders.
        pattern: Names of the files.
        max_files: Most files of one micro-batch.
    """

    folder: str
    pattern: str
    max_files: int


@dataclass(frozen=True)
class RecordsOf:
    """A topic of Kafka as a stream.

    Its rows are `key`, `value`, `topic`, `partition`, `offset` and `timestamp` of records.

    Attributes:
        servers: Addresses of brokers, `host:port,host:port`.
        topic: The topic.
        starting: Where a stream without a checkpoint starts: `earliest` or `latest`.
        max_records: About the most records of one micro-batch.
        options: Further settings of Kafka's client, such as `security.protocol`.
    """

    servers: str
    topic: str
    starting: str
    max_records: int
    options: tuple[tuple[str, str], ...] = ()


StreamOf: TypeAlias = "FilesOf | RecordsOf"
