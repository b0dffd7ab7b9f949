"""Errors that a user can mend."""


class MonitorSpecError(ValueError):
    """A monitor is declared in a way that cannot work."""
