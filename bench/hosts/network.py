"""A set of emulated hosts as commands of iproute2: pure functions.

Each host is a network namespace with one link, `eth0`; the other end of the link is a port of a bridge in a
namespace of its own, the switch. Nothing is added to the machine's own network, so that sets cannot meet, and what is
in a set goes with its namespaces. Both ends of a link send through a token bucket: up and down have the same rate.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.hosts.spec import Spec

PREFIX = "paceline"
INTERFACE = "eth0"
# Large frames, as cluster networks have: headers take 0.7 % of the rate, and 4.6 % of it with frames of 1500 bytes.
MTU = 9000
# The bucket holds a millisecond of the rate, but at least two of the 64 KiB packets in which Linux sends.
BURST_S = 0.001
LEAST_BURST_BYTES = 128 * 1024
QUEUE = "50ms"

Command = tuple[str, ...]


def host_name(host: int) -> str:
    """As launchers and the host itself call it; the same in every set, so that runs on different sets compare."""
    return f"host{host}"


def namespace(identifier: str, part: str) -> str:
    """Of a host, by its name, or of the "switch"."""
    return f"{PREFIX}-{identifier}-{part}"


def address(host: int) -> str:
    """In the set's own network, which no other can see."""
    return f"10.99.0.{host + 1}"


def hosts_file(spec: Spec) -> str:
    """/etc/hosts of every host of the set."""
    names = [f"{address(host)} {host_name(host)}" for host in range(spec.count)]
    return "\n".join(["127.0.0.1 localhost", *names, ""])


def commands(identifier: str, spec: Spec) -> Iterator[Command]:
    """What makes the set, in this order."""
    switch = namespace(identifier, "switch")
    yield "ip", "netns", "add", switch
    yield "ip", "-n", switch, "link", "add", "bridge0", "type", "bridge"
    yield "ip", "-n", switch, "link", "set", "bridge0", "mtu", str(MTU), "up"
    for host in range(spec.count):
        yield from _host(identifier, host, spec)


def _host(identifier: str, host: int, spec: Spec) -> Iterator[Command]:
    here, switch = namespace(identifier, host_name(host)), namespace(identifier, "switch")
    port, mtu = f"port{host}", ("mtu", str(MTU))
    yield "ip", "netns", "add", here
    yield (
        *("ip", "link", "add", "name", INTERFACE, *mtu, "netns", here),
        *("type", "veth", "peer", "name", port, *mtu, "netns", switch),
    )
    yield "ip", "-n", switch, "link", "set", port, "master", "bridge0", "up"
    yield "ip", "-n", here, "link", "set", "lo", "up"
    yield "ip", "-n", here, "addr", "add", f"{address(host)}/16", "dev", INTERFACE
    yield "ip", "-n", here, "link", "set", INTERFACE, "up"
    yield "tc", "-n", here, "qdisc", "add", "dev", INTERFACE, "root", *_bucket(spec)
    if spec.latency_us:
        yield "tc", "-n", switch, "qdisc", "add", "dev", port, "root", "handle", "1:", *_delay(spec)
        yield "tc", "-n", switch, "qdisc", "add", "dev", port, "parent", "1:1", "handle", "2:", *_bucket(spec)
    else:
        yield "tc", "-n", switch, "qdisc", "add", "dev", port, "root", *_bucket(spec)


def _bucket(spec: Spec) -> Command:
    burst = max(LEAST_BURST_BYTES, round(spec.rate_bits * BURST_S / 8))
    return "tbf", "rate", f"{spec.rate_bits}bit", "burst", str(burst), "latency", QUEUE


def _delay(spec: Spec) -> Command:
    """Its queue must hold what is on the way: the rate times the latency, in the smallest packets."""
    packets = max(1000, spec.rate_bits * spec.latency_us // 8_000_000 // 64)
    return "netem", "delay", f"{spec.latency_us}us", "limit", str(packets)
