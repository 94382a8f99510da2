"""The doctor: what a machine is like for a search, what is wrong with it, and what to do about that."""

from autoft.doctor.checks import examine
from autoft.doctor.facts import Facts
from autoft.doctor.finding import Finding, Level, Report
from autoft.doctor.gather import facts_here
from autoft.doctor.nodes import agreement, report_of, reports_in

__all__ = ["Facts", "Finding", "Level", "Report", "agreement", "examine", "facts_here", "report_of", "reports_in"]
