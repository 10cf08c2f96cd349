"""What a set of emulated hosts is to be, and whether this machine has room for it."""

from __future__ import annotations

import re

import msgspec

from bench.errors import UserError
from bench.quoting import quoted

SYNTAX = "COUNT@RATE, COUNTxSLOTS@RATE or COUNT@RATE+LATENCY, as in 4@1gbit, 4x2@1gbit or 4@200mbit+2ms"
UNITS = {"bit": 1, "kbit": 10**3, "mbit": 10**6, "gbit": 10**9, "tbit": 10**12}
NUMBER = r"[0-9]{1,15}(?:\.[0-9]{1,15})?"
TIMES_US = {"us": 1, "ms": 1_000, "s": 1_000_000}
SLOWEST_BITS = 10_000  # a slower link does not bring one packet through in its queue's 50 ms
FASTEST_BITS = 10**14
LONGEST_US = 10**7
MOST_HOSTS = 250
# A rank of the smallest stack holds half of it; the rest is the model, its gradients and the optimizer's state.
BYTES_PER_SLOT = 2**30


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """`count` hosts with `slots` ranks each, on one switch.

    rate_bits    of each host's link, per second, in each direction
    latency_us   from one host to another, one way; 0: what the machine itself takes
    """

    count: int
    rate_bits: int
    slots: int = 1
    latency_us: int = 0

    @property
    def text(self) -> str:
        """The shortest text that `parse` reads as this."""
        slots = f"x{self.slots}" if self.slots > 1 else ""
        latency = f"+{self.latency_us}us" if self.latency_us else ""
        return f"{self.count}{slots}@{spell_rate(self.rate_bits)}{latency}"

    def __str__(self) -> str:
        latency = f", {self.latency_us} us one way" if self.latency_us else ""
        slots = f" with {self.slots} slots each" if self.slots > 1 else ""
        return f"{self.count} host{'s' if self.count > 1 else ''}{slots} at {spell_rate(self.rate_bits)}{latency}"


def parse(text: str) -> Spec:
    """`4@1gbit` and its longer forms, SYNTAX. Raises UserError."""
    found = re.fullmatch(r"(-?[0-9]{1,9})(?:x(-?[0-9]{1,9}))?@([^+]+)(?:\+(.+))?", text.strip())
    if found is None:
        raise UserError(f"emulated hosts: {quoted(text)} is not understood; expected {SYNTAX}")
    count, slots, rate, latency = found.groups()
    return make(int(count), rate, latency, int(slots or 1))


def make(count: int, rate: str, latency: str | None = None, slots: int = 1) -> Spec:
    """A checked Spec. Raises UserError."""
    if not 1 <= count <= MOST_HOSTS:
        raise UserError(f"emulated hosts: {count} hosts; 1 to {MOST_HOSTS} are possible")
    if not 1 <= slots <= 9999:
        raise UserError(f"emulated hosts: {slots} slots a host; 1 to 9999 are possible")
    return Spec(
        count=count,
        slots=slots,
        rate_bits=parse_rate(rate),
        latency_us=0 if latency is None else parse_latency(latency),
    )


def parse_rate(text: str) -> int:
    """`1gbit`, `2.5gbit` and the like in bits per second. Raises UserError, also for a rate of 0."""
    found = re.fullmatch(rf"({NUMBER})([a-z]+)", text.strip().lower())
    if found is None or found[2] not in UNITS:
        expected = f"a number with {', '.join(UNITS)}, as in 1gbit"
        raise UserError(f"emulated hosts: {quoted(text)} is no rate; expected {expected}")
    bits = round(float(found[1]) * UNITS[found[2]])
    if bits < SLOWEST_BITS:
        raise UserError(f"emulated hosts: a rate of {text}; the slowest link possible is {spell_rate(SLOWEST_BITS)}")
    if bits > FASTEST_BITS:
        raise UserError(f"emulated hosts: a rate of {text}; the fastest link possible is {spell_rate(FASTEST_BITS)}")
    return bits


def parse_latency(text: str) -> int:
    """`2ms`, `500us` and the like in microseconds. Raises UserError."""
    found = re.fullmatch(rf"({NUMBER})(us|ms|s)", text.strip().lower())
    if found is None:
        raise UserError(f"emulated hosts: {quoted(text)} is no latency; expected a number with us, ms or s, as in 2ms")
    latency_us = round(float(found[1]) * TIMES_US[found[2]])
    if latency_us > LONGEST_US:
        raise UserError(f"emulated hosts: a latency of {text}; at most {LONGEST_US // TIMES_US['s']}s are possible")
    return latency_us


def spell_rate(bits: int) -> str:
    """The shortest of tc's own spellings, `1gbit` for 1,000,000,000."""
    unit = max((unit for unit in UNITS if bits % UNITS[unit] == 0), key=UNITS.__getitem__)
    return f"{bits // UNITS[unit]}{unit}"


def check_room(spec: Spec, available_bytes: int) -> None:
    """One GiB of available memory for each slot of each host. Raises UserError where it is not there."""
    needed = spec.count * spec.slots * BYTES_PER_SLOT
    if needed > available_bytes:
        raise UserError(
            f"{spec} need {needed / 2**30:.0f} GiB of memory (1 GiB for each slot, for one rank), and "
            f"{available_bytes / 2**30:.1f} GiB are available: at most {available_bytes // BYTES_PER_SLOT} slots"
        )
