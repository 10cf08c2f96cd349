#!/usr/bin/env bash
# Usage: horovodrun.sh [-np N] [-H HOST:SLOTS,...] [OPTION...] [STUDY.yaml]
#
# Sets up what is missing, once (into .venv beside this file), then runs a study through horovodrun.
# Without STUDY.yaml it runs studies/default.yaml. Takes horovodrun's own flags:
#
#   -np N, --num-proc N         number of replicas
#   -H, --hosts H1:2,H2:2       hosts and their slots, or emulated:4@1gbit: four on this machine (docs/hosts.md)
#   --hostfile FILE             the same from a file
#   --network-interfaces IF     interface that the ranks talk over
#   --gloo, --mpi               controller
#   -p, --ssh-port PORT         port of the hosts' sshd
#   -i, --ssh-identity-file F   key for it
#   --verbose                   without a terminal: one line a launch
#
# and those of `paceline run` (`.venv/bin/paceline run --help` lists them). The environment variables
#
#   PACELINE_WITH=torch,horovod the parts to install: torch, tensorflow, horovod; default: each that can be had
#   PYTHON=/path/to/python3     the Python (3.11 or newer) to build .venv with
#
# change the set-up; `make setup` looks again for what could not be had the first time.
set -euo pipefail

self=$0
[[ $self == */* ]] || self=./$self
while [[ -L $self ]]; do
    link=$(readlink -- "$self")
    [[ $link == /* ]] && self=$link || self=${self%/*}/$link
done
root=$(CDPATH='' cd -P -- "${self%/*}/" && pwd -P)

study=("$root/studies/default.yaml")
for argument in "$@"; do
    case $argument in
        -h | --help) exec sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p;}' "$root/horovodrun.sh" ;;
        *.yaml | *.yml | --resume | --resume=*) study=() ;;
    esac
done

source "$root/bench/setup/ready.sh"
paceline_ready
# Absolute, and first on the path: a folder called bench where the caller stands, or in PYTHONPATH, must not win.
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
exec "$root/.venv/bin/python" -P -m bench run "$@" ${study[@]+"${study[@]}"}
