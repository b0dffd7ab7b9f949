"""What the `lakeops` commands do; each returns a value that `cli` prints as text or JSON.

Nothing here can do what the Dagster UI cannot also start.
"""
