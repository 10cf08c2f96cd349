"""What is finished survives SIGKILL at any moment."""

from kills import Kills


def test_after_each_of_20_kills_finished_launches_are_whole_and_resume_ends_the_study(tmp_path):
    kills = Kills(tmp_path, seed=1)
    kills.go_on(20)
    assert kills.parents >= 3 and kills.ranks >= 3
    assert len(kills.finished) >= 6
