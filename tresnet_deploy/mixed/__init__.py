"""Mixed precision: the fewest blocks in float with which an INT8 engine meets a bound.

    FP32 graph, bound --sensitivity, latencies--> ranking --search(build, run, judge)--> MixedReport

The ranking says what to try; every mixture that is tried is quantised, built and run for real on
images that it was not calibrated on.
"""

from tresnet_deploy.mixed.bounds import Bound
from tresnet_deploy.mixed.step import PAGE, REPORT, Chosen, Wanted, applied, choose, save

__all__ = ["PAGE", "REPORT", "Bound", "Chosen", "Wanted", "applied", "choose", "save"]
