"""Emulated hosts: network namespaces of this machine with links of known speed, which launchers take for real hosts.

with hosts.emulated("4@1gbit") as emulated:       # or the name of a set that `paceline hosts up` made
    to_start = commands(trial, folder, python, emulated.cluster, os.environ)
"""

from bench.hosts.emulated import PREFIX as PREFIX
from bench.hosts.emulated import Emulated as Emulated
from bench.hosts.emulated import check_interface as check_interface
from bench.hosts.emulated import described as described
from bench.hosts.emulated import emulated as emulated
from bench.hosts.lifetime import down as down
from bench.hosts.lifetime import up as up
from bench.hosts.lifetime import why_not as why_not
from bench.hosts.spec import Spec as Spec
from bench.hosts.spec import parse as parse
