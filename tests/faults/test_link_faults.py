"""Faults of links between emulated hosts. The rows are in link_rows.py."""

import link_rows
import pytest

from bench import catalog
from tests.hosts.leftovers import possible


@possible
@pytest.mark.parametrize("fault", link_rows.LINK_FAULTS, ids=lambda fault: fault.name)
def test_the_promise_is_kept(fault, tmp_path):
    reason = catalog.why_not_installed("torch_ddp") or catalog.why_no_launcher("horovodrun")
    if reason is not None:
        pytest.skip(f"no framework: {reason}")
    fault.do(tmp_path)
