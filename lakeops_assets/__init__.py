"""The MLOps lakehouse as one Dagster asset graph.

Rooms import one way: definitions and cli -> components -> domain rooms -> lakehouse -> settings.
"""

__version__ = "0.1.0"
