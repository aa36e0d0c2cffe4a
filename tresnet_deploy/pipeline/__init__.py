"""The whole flow as data: export, quantize, build, compare, benchmark, report, in this order.

    Plan --deploy--> Deployment

A file is made anew only when what decides its bytes has changed (see ledger and converting). What
measures, compare and benchmark, runs each time.
"""

from tresnet_deploy.pipeline.flow import REPORT, deploy
from tresnet_deploy.pipeline.plan import STEPS, Deployment, Plan

__all__ = ["REPORT", "STEPS", "Deployment", "Plan", "deploy"]
