"""Products: one folder each, with a `defs.yaml` that names components and the SQL beside it."""
