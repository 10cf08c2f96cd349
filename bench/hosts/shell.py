"""How to start something on an emulated host, and the `ssh` that launchers find in place of the real one.

Emulated hosts share this machine's files, so they need no sshd and no keys: `ssh` becomes a step into the namespace.
As with the real one, the command is read by a shell, and sees nothing of the caller's environment.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from bench.hosts.network import namespace

STATE = Path("/var/lib/paceline/hosts")
# The host's own name, in a namespace of its own for each command: nothing is left of it afterwards.
NAMED = 'echo "$0" >/proc/sys/kernel/hostname && exec "$@"'

SSH = """#!/bin/sh
# ssh as horovodrun and mpirun call it, for the emulated hosts of set {identifier}: [options] host [options] command...
# Without a command: a shell.
host=
while [ $# -gt 0 ]; do
    case $1 in
    -[BbcDEeFIiJLlmOopQRSWw]) shift ;;
    -*) ;;
    *) [ -z "$host" ] || break; host=$1 ;;
    esac
    shift
done
case $host in
{hosts}) ;;
*) echo "ssh: no emulated host is called $host; there are {hosts}" >&2; exit 255 ;;
esac
[ $# -gt 0 ] || set -- 'exec "${{SHELL:-sh}}"'
exec env -i PATH="$PATH" HOME="$HOME" USER="${{USER:-root}}" TERM="${{TERM:-dumb}}" SHELL="${{SHELL:-/bin/sh}}" \\
    ip netns exec {prefix}"$host" unshare --uts sh -c {named} "$host" sh -c "$*"
"""


def enter(identifier: str, host: str) -> tuple[str, ...]:
    """The words that start the command after them on that host."""
    return ("ip", "netns", "exec", namespace(identifier, host), "unshare", "--uts", "sh", "-c", NAMED, host)


def shell_folder(identifier: str) -> Path:
    """The folder that holds nothing but the set's own `ssh`."""
    return STATE / identifier / "bin"


def ssh(identifier: str, hosts: list[str]) -> str:
    """The text of that program."""
    prefix, named = namespace(identifier, ""), shlex.quote(NAMED)
    return SSH.format(identifier=identifier, hosts="|".join(hosts), prefix=prefix, named=named)
