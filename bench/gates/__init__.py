"""Checks that must hold before a speed may be shown. Each says what it saw, whether it holds or not.

Gates of one launch look at its ranks; gates between trials compare what different stacks did with the same work.
docs/equality.md says what each can see and what it cannot.
"""

from __future__ import annotations

from bench.gates.between import between as between
from bench.gates.launch import of_launch as of_launch
from bench.gates.losses import step_losses as step_losses
from bench.gates.outcome import first_failure as first_failure
from bench.gates.report import RankReport as RankReport
