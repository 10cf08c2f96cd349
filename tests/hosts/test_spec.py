"""What is asked for, and the commands that make it: without root."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.hosts import check_interface, lifetime
from bench.hosts.emulated import cluster
from bench.hosts.network import commands, hosts_file
from bench.hosts.spec import Spec, check_room, make, parse

GIB = 2**30


@pytest.mark.parametrize(
    ("text", "spec", "spelled"),
    [
        ("4@1gbit", Spec(count=4, rate_bits=1_000_000_000), "4 hosts at 1gbit"),
        ("2x8@2.5gbit", Spec(count=2, slots=8, rate_bits=2_500_000_000), "2 hosts with 8 slots each at 2500mbit"),
        (
            "3@200mbit+1.5ms",
            Spec(count=3, rate_bits=200_000_000, latency_us=1500),
            "3 hosts at 200mbit, 1500 us one way",
        ),
    ],
)
def test_a_spec_is_read_and_spelled(text: str, spec: Spec, spelled: str) -> None:
    assert (parse(text), str(spec)) == (spec, spelled)
    assert parse(spec.text) == spec


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("4", "emulated hosts: '4' is not understood; expected COUNT@RATE, "),
        ("0@1gbit", "emulated hosts: 0 hosts; 1 to 250 are possible"),
        ("-2@1gbit", "emulated hosts: -2 hosts; 1 to 250 are possible"),
        ("999@1gbit", "emulated hosts: 999 hosts; 1 to 250 are possible"),
        ("2x0@1gbit", "emulated hosts: 0 slots a host; 1 to 9999 are possible"),
        ("2@0gbit", "emulated hosts: a rate of 0gbit; the slowest link possible is 10kbit"),
        ("2@101tbit", "emulated hosts: a rate of 101tbit; the fastest link possible is 100tbit"),
        ("2@1gbit+11s", "emulated hosts: a latency of 11s; at most 10s are possible"),
        ("2@1gb", "emulated hosts: '1gb' is no rate; expected a number with bit, kbit, mbit, gbit, tbit, as in 1gbit"),
        (
            "2@1gbps",
            "emulated hosts: '1gbps' is no rate; expected a number with bit, kbit, mbit, gbit, tbit, as in 1gbit",
        ),
        ("2@1gbit+2", "emulated hosts: '2' is no latency; expected a number with us, ms or s, as in 2ms"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(UserError) as refused:
        parse(text)
    assert str(refused.value).startswith(sentence)


def test_each_slot_needs_a_gibibyte_of_available_memory() -> None:
    check_room(make(4, "1gbit", slots=2), 8 * GIB)
    with pytest.raises(UserError) as refused:
        check_room(make(4, "1gbit", slots=2), 8 * GIB - 1)
    assert str(refused.value) == (
        "4 hosts with 2 slots each at 1gbit need 8 GiB of memory (1 GiB for each slot, for one rank), and 8.0 GiB are "
        "available: at most 7 slots"
    )


def test_an_interface_that_does_not_exist_is_refused() -> None:
    check_interface("eth0")
    check_interface(None)
    with pytest.raises(UserError, match="emulated hosts have no network interface 'ib0'; they have eth0"):
        check_interface("ib0")


def test_who_is_not_root_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(UserError, match="emulated hosts need root, which alone may make network namespaces"):
        lifetime.up(make(2, "1gbit"))


def test_another_system_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(UserError, match="network namespaces of Linux, and this is darwin"):
        lifetime.down(())


def test_a_machine_without_iproute2_is_told_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert lifetime.why_not() == (
        "emulated hosts need iproute2 and util-linux: ip, tc, unshare is not installed"
    )  # fmt: skip


def test_a_host_is_a_namespace_with_one_link_whose_both_ends_are_shaped() -> None:
    made = [" ".join(command) for command in commands("0a1b2c", make(1, "1gbit"))]
    assert made == [
        "ip netns add paceline-0a1b2c-switch",
        "ip -n paceline-0a1b2c-switch link add bridge0 type bridge",
        "ip -n paceline-0a1b2c-switch link set bridge0 mtu 9000 up",
        "ip netns add paceline-0a1b2c-host0",
        "ip link add name eth0 mtu 9000 netns paceline-0a1b2c-host0 type veth peer name port0 mtu 9000"
        " netns paceline-0a1b2c-switch",
        "ip -n paceline-0a1b2c-switch link set port0 master bridge0 up",
        "ip -n paceline-0a1b2c-host0 link set lo up",
        "ip -n paceline-0a1b2c-host0 addr add 10.99.0.1/16 dev eth0",
        "ip -n paceline-0a1b2c-host0 link set eth0 up",
        "tc -n paceline-0a1b2c-host0 qdisc add dev eth0 root tbf rate 1000000000bit burst 131072 latency 50ms",
        "tc -n paceline-0a1b2c-switch qdisc add dev port0 root tbf rate 1000000000bit burst 131072 latency 50ms",
    ]


def test_latency_is_added_once_on_the_way_before_the_bucket_of_the_receiver() -> None:
    *_, delay, bucket = [" ".join(command) for command in commands("0a1b2c", make(1, "10gbit", "2ms"))]
    assert delay == "tc -n paceline-0a1b2c-switch qdisc add dev port0 root handle 1: netem delay 2000us limit 39062"
    assert bucket == (
        "tc -n paceline-0a1b2c-switch qdisc add dev port0 parent 1:1 handle 2: "
        "tbf rate 10000000000bit burst 1250000 latency 50ms"
    )


def test_a_launcher_starts_on_the_first_host_and_finds_the_ssh_of_the_set() -> None:
    reached = cluster("0a1b2c", make(2, "1gbit", slots=3), path="/bin")
    assert (reached.hosts, reached.network_interface, reached.emulated) == (
        (("host0", 3), ("host1", 3)), "eth0", "2x3@1gbit",
    )  # fmt: skip
    assert reached.door[:4] == ("ip", "netns", "exec", "paceline-0a1b2c-host0") and reached.door[-1] == "host0"
    assert reached.variables["PATH"] == "/var/lib/paceline/hosts/0a1b2c/bin:/bin"
    assert {"host0", "host1"} < reached.on_this_machine


def test_every_host_knows_all_names() -> None:
    assert hosts_file(make(2, "1gbit")) == "127.0.0.1 localhost\n10.99.0.1 host0\n10.99.0.2 host1\n"
