"""Under which circumstances something was measured: what must agree before two speeds may be compared, and all that is
known beside it."""

from __future__ import annotations

import msgspec

from bench.records import SCHEMA, Environment, Facts, TrialResult
from reports import compare
from reports.compare import Key

# Two speeds are held against each other where all of these agree: fewer would compare machines, more would never
# match. `trial.` and `packages.` stand for every key below.
FINGERPRINT_KEYS = (
    "schema",
    "trial.",
    "data_digest",
    "hosts",
    "emulated_hosts",
    "devices",
    "cpu",
    "cores",
    "packages.",
)


def of_machine(environment: Environment) -> Key:
    """The machine's part of the fingerprint."""
    packages: Key = {f"packages.{name}": version for name, version in environment.packages.items()}
    return {"cpu": environment.cpu, "cores": environment.cores, **packages}


def differing(one: Environment, other: Environment) -> list[str]:
    """What tells two machines or set-ups apart, as "key (value and value)"."""
    return compare.differing(of_machine(one), of_machine(other))


def fingerprint(result: TrialResult, environment: Environment) -> Key:
    """The circumstances that must agree before two speeds may be compared, by the names in FINGERPRINT_KEYS.

    data_digest  of what the ranks were fed
    hosts        how many
    devices      kinds, without their numbers, as the running backend names them
    """
    last = result.repeats[-1] if result.repeats else None
    devices = sorted({device.rstrip("0123456789:") for facts in last.facts for device in facts.devices}) if last else []
    return {
        "schema": SCHEMA,
        **compare.flatten({"trial": result.trial.content()}),
        "data_digest": last.data_digest if last else None,
        "hosts": len(set(last.hosts)) if last else None,
        "emulated_hosts": environment.emulated_hosts,
        "devices": ", ".join(devices) or None,
        **of_machine(environment),
    }


def surroundings(environment: Environment) -> Key:
    """All that is known of where a run took place, by dotted names."""
    return compare.flatten(msgspec.to_builtins(environment))


def as_ran(result: TrialResult) -> Key:
    """What the last launch's first rank said of itself: what ran in place of an "auto", say, and its settings."""
    facts = next((found for repeat in reversed(result.repeats) for found in repeat.facts), None)
    return {} if facts is None else _said(facts)


def _said(facts: Facts) -> Key:
    return {
        "all-reduce": facts.algorithm,
        "compute precision": facts.compute_dtype,
        "wire precision": facts.wire_dtype,
        "threads per rank": facts.threads,
        "buckets": facts.buckets,
        **compare.flatten({"setting": facts.settings}),
    }
