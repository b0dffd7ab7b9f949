"""Real data sets, replayed day by day into landing files.

Owns which rows arrive on which day; the days that are already in the landing folder are its only
state.
"""

from lakeops_assets.samples.flights import FLIGHTS
from lakeops_assets.samples.replay import Delivery, Landed, Sample, SampleError, land
from lakeops_assets.samples.telco import CHURN

SAMPLES = {s.name: s for s in (CHURN, FLIGHTS)}


def sample(name: str) -> Sample:
    """Return the sample of a product.

    Raises:
        SampleError: There is none of that name.
    """
    if name not in SAMPLES:
        raise SampleError(
            f"there is no sample data for {name!r}; there is some for: {', '.join(SAMPLES)}. "
            "Drop files of your own into the landing folder instead"
        )
    return SAMPLES[name]


__all__ = ["SAMPLES", "Delivery", "Landed", "Sample", "SampleError", "land", "sample"]
