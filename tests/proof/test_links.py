"""The record of ruler 2 holds what is claimed of it."""

import pytest

from tests.proof import experiments, links, record

found = record.read(links.experiment())
parts = found["parts"] if found else {}
if set(parts) != set(links.experiment().parts):
    pytest.skip("no links are recorded yet: make proof ARGS=links", allow_module_level=True)


def test_the_experiment_is_in_the_table():
    assert experiments.all_of()["links"] is links.experiment


@pytest.mark.parametrize("backend", links.BACKENDS)
@pytest.mark.parametrize(("hosts", "rate"), links.STANDALONE)
def test_mini_gradients_alone_take_the_wire_time_within_ten_percent(backend, hosts, rate):
    part = parts[f"standalone, {backend}, {hosts} hosts at {rate}"]
    assert part["bytes"] == 4 * 11_267_900 and part["exact"] is True
    assert links.standalone_ratio(part) == pytest.approx(1.0, abs=links.STANDALONE_WITHIN)


@pytest.mark.parametrize("backend", links.BACKENDS)
def test_exposed_communication_follows_the_rate_within_fifteen_percent(backend):
    slow, fast = (links.exposed_parts(parts, backend, rate) for rate in ("100mbit", "200mbit"))
    assert len(slow) == len(fast) == links.LAUNCHES
    assert all(links.hidden_at_most(part) < 0.5 for part in [*slow, *fast])
    assert links.difference_ratio(slow, fast) == pytest.approx(1.0, abs=links.DIFFERENCE_WITHIN)
