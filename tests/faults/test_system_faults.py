"""Faults that the system makes: disks, hosts, launchers. The rows are in system_rows.py."""

import pytest
import system_rows


@pytest.mark.parametrize("fault", system_rows.SYSTEM_FAULTS, ids=lambda fault: fault.name)
def test_the_promise_is_kept(fault, tmp_path):
    fault.do(tmp_path)
