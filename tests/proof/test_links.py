"""The record of ruler 2 holds what is claimed of it."""

import statistics

import pytest

from tests.proof import experiments, links, record

found = record.read(links.experiment())
parts = found["parts"] if found else {}
if set(parts) != set(links.experiment().parts):
    pytest.skip("no links are recorded yet: make proof ARGS=links", allow_module_level=True)


def test_the_experiment_is_in_the_table():
    assert experiments.all_of()["links"] is links.experiment


def alone(backend, hosts, rate):
    part = parts[f"standalone, {backend}, {hosts} hosts at {rate}"]
    assert part["bytes"] == 4 * 11_267_900 and part["exact"] is True
    return part


# At 1 Gbit/s Horovod's own copies into and out of its fusion buffer take longer than that, see below.
@pytest.mark.parametrize(
    ("backend", "hosts", "rate"),
    [("torch_ddp", *point) for point in links.STANDALONE] + [("torch_horovod", n, "200mbit") for n in (2, 4)],
)
def test_mini_gradients_alone_take_the_wire_time_within_ten_percent(backend, hosts, rate):
    part = alone(backend, hosts, rate)
    assert links.standalone_ratio(part) == pytest.approx(1.0, abs=links.STANDALONE_WITHIN)


@pytest.mark.parametrize("backend", links.BACKENDS)
@pytest.mark.parametrize("hosts", [2, 4])
def test_what_a_slower_link_adds_to_it_is_the_wire_times_difference_within_ten_percent(backend, hosts):
    """Whatever a stack does beside sending is the same at both rates."""
    slow, fast = (alone(backend, hosts, rate) for rate in ("200mbit", "1gbit"))
    more = statistics.median(slow["standalone_ms"]) - statistics.median(fast["standalone_ms"])
    assert more / (slow["wire_ms"] - fast["wire_ms"]) == pytest.approx(1.0, abs=links.STANDALONE_WITHIN)


@pytest.mark.parametrize("backend", links.BACKENDS)
def test_exposed_communication_follows_the_rate_within_fifteen_percent(backend):
    slow, fast = (links.exposed_parts(parts, backend, rate) for rate in ("100mbit", "200mbit"))
    assert len(slow) == len(fast) == links.LAUNCHES
    assert all(links.hidden_at_most(part) < 0.5 for part in [*slow, *fast])
    assert links.difference_ratio(slow, fast) == pytest.approx(1.0, abs=links.DIFFERENCE_WITHIN)
