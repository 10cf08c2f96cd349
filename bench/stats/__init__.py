"""Numbers in, numbers out. Each formula has its one home in this package; nothing is read, printed or remembered.

The unit of replication is the launch: windows of one launch are correlated, so intervals are taken over
launches. Rates and ratios are multiplicative, so their logarithms are averaged (a geometric mean).
docs/statistics.md says how the methods were chosen and what they were measured to be worth.
"""

from bench.stats.changes import RUNS_FOR_CHANGE as RUNS_FOR_CHANGE
from bench.stats.changes import changes as changes
from bench.stats.estimates import CONFIDENCE as CONFIDENCE
from bench.stats.estimates import LAUNCHES_FOR_INTERVAL as LAUNCHES_FOR_INTERVAL
from bench.stats.estimates import PRACTICAL_DIFFERENCE as PRACTICAL_DIFFERENCE
from bench.stats.estimates import Contrast as Contrast
from bench.stats.estimates import Difference as Difference
from bench.stats.estimates import Estimate as Estimate
from bench.stats.estimates import contrast as contrast
from bench.stats.estimates import differences as differences
from bench.stats.estimates import differs as differs
from bench.stats.estimates import holm as holm
from bench.stats.estimates import over_launches as over_launches
from bench.stats.estimates import ratio as ratio
from bench.stats.estimates import relative_difference as relative_difference
from bench.stats.ladder import Ladder as Ladder
from bench.stats.ladder import Part as Part
from bench.stats.ladder import Rungs as Rungs
from bench.stats.ladder import hidden_share as hidden_share
from bench.stats.ladder import ladder as ladder
from bench.stats.ladder import mean as mean
from bench.stats.scaling import Amdahl as Amdahl
from bench.stats.scaling import LatencyBandwidth as LatencyBandwidth
from bench.stats.scaling import fit_amdahl as fit_amdahl
from bench.stats.scaling import fit_latency_bandwidth as fit_latency_bandwidth
from bench.stats.scaling import is_suspect as is_suspect
from bench.stats.scaling import largest_deviation as largest_deviation
from bench.stats.scaling import scaling_efficiency as scaling_efficiency
from bench.stats.scaling import speed_up as speed_up
from bench.stats.scaling import strong_efficiency as strong_efficiency
from bench.stats.sequence import Settled as Settled
from bench.stats.sequence import Stopping as Stopping
from bench.stats.sequence import drift as drift
from bench.stats.sequence import half_width as half_width
from bench.stats.sequence import settled as settled
from bench.stats.sequence import stopping as stopping
from bench.stats.stragglers import CHRONIC_WINDOWS as CHRONIC_WINDOWS
from bench.stats.stragglers import LATE as LATE
from bench.stats.stragglers import Readiness as Readiness
from bench.stats.stragglers import readiness as readiness
from bench.stats.windows import Integers as Integers
from bench.stats.windows import Pace as Pace
from bench.stats.windows import fences as fences
from bench.stats.windows import num_outliers as num_outliers
from bench.stats.windows import pace as pace
from bench.stats.windows import pace_of_ranks as pace_of_ranks
from bench.stats.windows import quantile as quantile
from bench.stats.windows import throughput as throughput
