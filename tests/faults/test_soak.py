"""A study of many short trials costs its parent no memory and no files."""

from soak import soak


def test_twenty_trials_leave_the_parent_as_it_was(tmp_path):
    found = soak(tmp_path, 20)
    assert found.most_files <= found.early_files + 2
    assert found.most_bytes <= found.early_bytes + 10_000_000
