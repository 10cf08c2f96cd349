"""A study of many short trials costs its parent no memory and no files."""

from soak import SETTLED, soak

TRIALS = 20


def test_twenty_trials_leave_the_parent_as_it_was(tmp_path):
    found = soak(tmp_path, TRIALS)
    # Samples may miss the pipes that starting a rank opens for a moment, early or late; a leak adds a file per trial.
    assert found.most_files < found.early_files + (TRIALS - SETTLED) // 2
    assert found.most_bytes <= found.early_bytes + 10_000_000
