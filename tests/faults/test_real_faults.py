"""Faults inside the code of real frameworks. The rows are in real_rows.py; `make proof ARGS=faults` makes all of them."""

import pytest
import real_rows


@pytest.mark.slow
@pytest.mark.parametrize("name", real_rows.IN_SHORT)
def test_the_promise_is_kept(name, tmp_path):
    (fault,) = [row for row in real_rows.REAL_FAULTS if row.name == name]
    fault.do(tmp_path)
