"""The report: parity, speed and origin of an engine as one self-contained HTML page.

    ReportData --speed, proof, origin--> views --templates/--> HTML

Views hold finished texts and positions in percent; templates only lay them out.
"""

from tresnet_deploy.report.data import FusedEngine, ReportData, StepTime
from tresnet_deploy.report.page import render
from tresnet_deploy.report.verdict import headline

__all__ = ["FusedEngine", "ReportData", "StepTime", "headline", "render"]
