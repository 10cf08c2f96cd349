"""Faults that are the harness's to handle, on the backend without a framework. The rows are in rows.py."""

import pytest
import rows


@pytest.mark.parametrize("fault", rows.NULL_FAULTS, ids=lambda fault: fault.name)
def test_the_promise_is_kept(fault, tmp_path):
    fault.do(tmp_path)
