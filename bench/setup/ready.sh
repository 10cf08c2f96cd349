#!/usr/bin/env bash
# Returns at once when .venv is ready, else sets it up. Arguments: parts that must be there (dev, torch, ...);
# --retry looks again for frameworks that could not be had. Source it or run it; see bench/setup/stamp.py.

paceline_root=${BASH_SOURCE[0]}
[[ $paceline_root == */* ]] || paceline_root=./$paceline_root
paceline_root=$(CDPATH='' cd -P -- "${paceline_root%/*}/../.." && pwd -P) || exit 2

paceline_key() {
    local gpu=cpu cfg="$paceline_root/.venv/pyvenv.cfg"
    [[ -e /proc/driver/nvidia/version ]] && gpu=gpu
    [[ -e $cfg ]] || cfg=/dev/null
    local LC_ALL=C sum
    sum=$({
        printf '%s\n%s\n' "$paceline_root" "$gpu"
        cat -- "$paceline_root"/{pyproject.toml,bench/setup/{horovod_wheel,nccl}.py} "$paceline_root"/locks/*.txt "$cfg"
    } | sha256sum)
    printf '%s' "${sum%% *}"
}

paceline_is_ready() {
    local stamp installed name key
    [[ -x $paceline_root/.venv/bin/python && -r $paceline_root/.venv/.paceline ]] || return 1
    stamp=$(<"$paceline_root/.venv/.paceline")
    key=$(paceline_key)
    [[ $stamp == *"\"key\": \"$key\""* ]] || return 1
    installed=${stamp#*\"installed\": [}
    installed=${installed%%]*}
    for name in "$@" ${PACELINE_WITH:+${PACELINE_WITH//,/ }}; do
        [[ $installed == *"\"$name\""* ]] || return 1
    done
}

paceline_find_python() {
    local candidate
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.13 python3.12 python3.11 python3.14; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s' "$candidate"
            return
        fi
    done
    printf 'paceline set-up: no Python 3.11 or newer on PATH; %s\n' \
        'on Debian 12 or newer: apt-get install python3 python3-venv; elsewhere: PYTHON=/path/to/python3.11' >&2
    exit 2
}

paceline_ready() {
    local retry='' parts
    [[ ${1-} == --retry ]] && retry=yes && shift
    [[ -z $retry ]] && paceline_is_ready "$@" && return
    local python
    python=$(paceline_find_python) || exit 2
    parts=$(IFS=,; printf '%s' "$*")
    PYTHONPATH=$paceline_root "$python" -P -m bench.setup.environment ${parts:+--also "$parts"} || exit
}

[[ ${BASH_SOURCE[0]} == "$0" ]] && paceline_ready "$@"
true
