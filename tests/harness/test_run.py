"""Whole runs with real processes on the null backend: what comes out, and what faults cost."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from bench import journal
from bench.launch.commands import Command
from bench.launch.execute import execute
from bench.launch.watch import Watch
from bench.records import Phase, RankInfo, Repeat, Result, Trial, Window
from bench.storage import unseal

BASE = """
name: check
launcher: local
repeats: {repeats}
timeout_s: {timeout_s}
workload: {{sequence_length: 16, batch_per_replica: 4}}
timing: {{warmup_windows: 1, windows: 3, steps_per_window: 4}}
"""


@pytest.fixture(scope="session")
def runs(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("runs")


def write_study(folder: Path, more: str, repeats: int = 1, timeout_s: int = 60) -> Path:
    path = folder / "study.yaml"
    path.write_text(BASE.format(repeats=repeats, timeout_s=timeout_s) + more)
    return path


def paceline(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-P", "-m", "bench", *map(str, arguments)]
    return subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


def start(*arguments: object, cwd: Path) -> subprocess.Popen[str]:
    argv = [sys.executable, "-P", "-m", "bench", *map(str, arguments)]
    return subprocess.Popen(argv, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run_folder(done: subprocess.CompletedProcess[str], cwd: Path) -> Path:
    return (cwd / done.stdout.strip().splitlines()[-1]).parent


def result_of(folder: Path) -> Result:
    return unseal((folder / "result.json").read_bytes(), Result)


def wait_until(condition, deadline_s: float = 60.0):
    """Polls, because what is awaited happens in other processes."""
    began = time.monotonic()
    while not (found := condition()):
        assert time.monotonic() - began < deadline_s, "it never happened"
        time.sleep(0.02)
    return found


def rank_in_windows(runs: Path, study: str, rank: int) -> RankInfo | None:
    """The rank's process, once it is measuring."""
    for path in runs.glob(f"{study}-*/*/*/rank-{rank}.jsonl"):
        lines = journal.read(path.parent, rank)
        if any(isinstance(line, Window) for line in lines) and journal.last_phase(lines) != "end":
            assert isinstance(lines[0], RankInfo)
            return lines[0]
    return None


@pytest.mark.quiet
def test_real_processes_and_the_real_clock_give_the_programmed_throughput_within_two_percent(runs, tmp_path):
    """2 ranks x 4 samples; the slower takes 12 ms a step: 8 / 0.012 s = 666.7 samples/s. By what the machine itself made
    the ranks' steps longer, as their own clocks say, it may be less."""
    path = write_study(tmp_path, "backend: 'null'\noptions: {step_ms: [10, 12], own_up: true}\n")
    path.write_text(path.read_text().replace("steps_per_window: 4", "steps_per_window: 40"))
    done = paceline("run", path, "--runs", runs, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    table = paceline("report", run_folder(done, tmp_path), "--format", "json", cwd=tmp_path)
    (row,) = json.loads(table.stdout)["rows"]
    (trial,) = [trial for trial in result_of(run_folder(done, tmp_path)).trials if trial.trial.backend == "null"]
    overslept_s = sum(facts.settings["overslept_ms"] for facts in trial.repeats[0].facts) / 1e3
    assert 0.98 * 8 / (0.012 + overslept_s) < row["samples_per_second"] < 1.02 * 8 / 0.012


def test_repeats_of_different_trials_are_interleaved_and_the_order_is_kept(runs, tmp_path):
    path = write_study(tmp_path, "matrix:\n  backend: ['null']\n  replicas: [1, 2, 3]\n", repeats=3)
    done = paceline("run", path, "--runs", runs, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    order = result_of(run_folder(done, tmp_path)).order
    rounds = [order[start : start + 3] for start in (0, 3, 6)]
    assert [sorted({repeat for _, repeat in launches}) for launches in rounds] == [[0], [1], [2]]
    assert [len({trial_id for trial_id, _ in launches}) for launches in rounds] == [3, 3, 3]


def test_output_that_is_no_terminal_gets_the_table_only(runs, tmp_path):
    done = paceline("run", write_study(tmp_path, "backend: 'null'\n"), "--runs", runs, cwd=tmp_path)
    assert "\x1b" not in done.stdout + done.stderr
    assert [line for line in done.stderr.splitlines() if not line.startswith("note:")] == []
    assert all(len(line) <= 80 for line in done.stdout.splitlines()[:-1])


def test_decoys_in_the_current_directory_do_not_win(runs, tmp_path):
    for name in ("bench", "backends", "reports", "numpy", "msgspec"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('a decoy was imported')\n")
    done = paceline("run", write_study(tmp_path, "backend: 'null'\n"), "--runs", runs, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    console_script = Path(sys.executable).parent / "paceline"
    shown = subprocess.run([console_script, "--help"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr


def test_windows_are_columns_of_integers_whose_checksum_is_in_the_result(runs, tmp_path):
    done = paceline("run", write_study(tmp_path, "backend: 'null'\n"), "--runs", runs, cwd=tmp_path)
    folder = run_folder(done, tmp_path)
    table = pq.read_table(folder / "windows.parquet")
    assert table.num_rows == 2 * (1 + 1 + 3)
    assert {str(table.schema.field(name).type) for name in ("duration_ns", "samples", "cpu_ns", "start_ns")} == {
        "int64"
    }
    assert (folder.stat().st_mode & 0o077) == 0


# ---- faults: the row says why, the others go on -------------------------------------------------------------


def test_a_rank_that_raises_is_named_with_phase_and_reason_and_the_other_trial_goes_on(runs, tmp_path):
    path = write_study(
        tmp_path,
        "matrix:\n  backend: ['null']\n  options.fault_at: [3, 9999]\noptions: {fault: raise, fault_rank: 1}\n",
    )
    done = paceline("run", path, "--runs", runs, cwd=tmp_path)
    assert done.returncode == 1
    bad, good = result_of(run_folder(done, tmp_path)).trials
    assert (bad.status, good.status) == ("failed", "ok")
    assert bad.reason.startswith("repeat 0: rank 1 failed in warmup: RuntimeError: null was told to fail at step 3")
    assert "rank 1 failed in warmup" in " ".join(done.stdout.split())


def test_a_killed_rank_is_named_and_the_next_trial_runs(runs, tmp_path):
    # Only one trial has a rank 1, and that one is slow: 5 s are left once it measures.
    path = write_study(tmp_path, "backend: 'null'\noptions: {step_ms: [1, 300]}\nmatrix:\n  replicas: [2, 1]\n")
    path.write_text(path.read_text().replace("name: check", "name: killed"))
    process = start("run", path, "--runs", runs, cwd=tmp_path)
    os.kill(wait_until(lambda: rank_in_windows(runs, "killed", 1)).pid, signal.SIGKILL)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    trials = result_of(Path(output.strip().splitlines()[-1]).parent).trials
    assert sorted(trial.status for trial in trials) == ["failed", "ok"]
    (failed,) = [trial for trial in trials if trial.status == "failed"]
    assert "rank 1 died in" in failed.reason and "without a word" in failed.reason


def test_a_launch_that_takes_too_long_is_ended_with_all_its_processes(runs, tmp_path):
    path = write_study(tmp_path, "backend: 'null'\noptions: {step_ms: 100000}\n", timeout_s=4)
    done = paceline("run", path, "--runs", runs, cwd=tmp_path)
    assert done.returncode == 1
    folder = run_folder(done, tmp_path)
    (trial,) = result_of(folder).trials
    assert "not finished within 4 s" in trial.reason
    assert not [
        each for each in psutil.process_iter(["cmdline"]) if str(folder) in " ".join(each.info["cmdline"] or ())
    ]


def test_a_port_already_taken_is_that_trials_row(runs, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        path = write_study(tmp_path, f"backend: 'null'\nrendezvous_port: {port}\n")
        done = paceline("run", path, "--runs", runs, cwd=tmp_path)
    assert done.returncode == 1
    (trial,) = result_of(run_folder(done, tmp_path)).trials
    assert f"rendezvous port {port} on" in trial.reason and "choose another" in trial.reason


def test_a_row_that_cannot_be_selected_keeps_its_reason_and_the_others_run(runs, tmp_path):
    path = write_study(tmp_path, "backend: 'null'\nmatrix:\n  allreduce: [auto, tree]\n")
    done = paceline("run", path, "--runs", runs, cwd=tmp_path)
    assert done.returncode == 0
    by_status = {trial.status: trial for trial in result_of(run_folder(done, tmp_path)).trials}
    assert by_status["not_selectable"].reason == "null cannot select all-reduce tree; it has auto"
    assert by_status["ok"].repeats


# ---- bad input: exit 2, one sentence, nothing started -----------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ("bakend: 'null'\n", "a study has no key 'bakend'; did you mean 'backend'?"),
        ("backend: torch_dpd\n", "no backend is called 'torch_dpd'; did you mean 'torch_ddp'?"),
        ("backend: 'null'\nallreduce: tree\n", "no trial of the study 'check' can run here: null: null cannot select all-reduce tree"),
        ("backend: 'null'\nworkload: {data: missing.txt}\n", "missing.txt"),
        ("backend: 'null'\nworkload: {data: empty.txt}\n", "empty.txt"),
        ("backend: 'null'\nworkload: {task: ner, data: untagged.conll}\n", "untagged.conll:2"),
        ("backend: 'null'\nworkload: {model: tinny}\n", "study.yaml:8: workload.model is 'tinny' (did you mean 'tiny'?)"),
        ("backend: 'null'\nworkload: {model: ./badmodel}\n", "bert.embeddings.word_embeddings.weight"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_and_exit_2_before_anything_starts(tmp_path, more, sentence):
    (tmp_path / "empty.txt").write_text("")
    (tmp_path / "untagged.conll").write_text("Anna B-PER\nsleeps\n")
    _bad_model(tmp_path / "badmodel")
    text = BASE.format(repeats=1, timeout_s=9) + more
    if "workload: {task" in more or "workload: {data" in more or "workload: {model" in more:
        text = text.replace("workload: {sequence_length: 16, batch_per_replica: 4}\n", "")
    (tmp_path / "study.yaml").write_text(text)
    done = paceline("run", "study.yaml", "--runs", tmp_path / "runs", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert sentence in done.stderr
    assert list((tmp_path / "runs").glob("check-*")) == []


def _bad_model(folder: Path) -> None:
    """A Hugging Face folder whose word embeddings have another shape than its own config says."""
    import numpy as np
    from safetensors.numpy import save_file

    folder.mkdir()
    config = {"model_type": "bert", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
              "intermediate_size": 64, "vocab_size": 30522, "hidden_act": "gelu_pytorch_tanh"}  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    save_file({"bert.embeddings.word_embeddings.weight": np.zeros((7, 32), np.float32)}, folder / "model.safetensors")


# ---- what is kept -----------------------------------------------------------------------------------------------


def test_a_run_whose_parent_was_killed_is_resumed_without_repeating_what_was_finished(runs, tmp_path):
    path = write_study(tmp_path, "backend: 'null'\noptions: {step_ms: 20}\n", repeats=3)
    path.write_text(path.read_text().replace("name: check", "name: resumed"))
    process = start("run", path, "--runs", runs, cwd=tmp_path)
    first = wait_until(lambda: next(iter(runs.glob("resumed-*/*/0/repeat.json")), None))
    wait_until(lambda: next(iter(runs.glob("resumed-*/*/1/rank-0.jsonl")), None))
    process.kill()
    process.communicate()
    folder, kept = first.parents[2], first.read_bytes()
    missing = 3 - len(list(folder.glob("*/*/repeat.json")))
    assert missing > 0
    report = paceline("report", folder, "--format", "text", cwd=tmp_path)
    assert f"{missing} of 3 launches not made yet" in " ".join(report.stdout.split())
    done = paceline("run", "--resume", folder, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert first.read_bytes() == kept
    assert [repeat.repeat for repeat in result_of(folder).trials[0].repeats] == [0, 1, 2]


def test_half_a_repeat_is_never_read_as_a_result(runs, tmp_path):
    done = paceline("run", write_study(tmp_path, "backend: 'null'\n"), "--runs", runs, cwd=tmp_path)
    folder = run_folder(done, tmp_path)
    (path,) = folder.glob("*/0/repeat.json")
    path.write_bytes(path.read_bytes()[:-20])
    shown = paceline("report", folder, "--format", "text", cwd=tmp_path)
    assert "1 of 1 launches not made yet" in " ".join(shown.stdout.split())


def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(runs, tmp_path):
    path = write_study(tmp_path, "backend: 'null'\noptions: {step_ms: 300}\n", repeats=2)
    path.write_text(path.read_text().replace("name: check", "name: interrupted"))
    process = start("run", path, "--runs", runs, cwd=tmp_path)
    rank = wait_until(lambda: rank_in_windows(runs, "interrupted", 0))
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "finished launches are kept: paceline run --resume" in said
    with pytest.raises(ProcessLookupError):
        os.kill(rank.pid, 0)


@pytest.mark.quiet
def test_the_parent_takes_under_two_percent_of_a_core_while_ranks_run(tmp_path):
    command = Command((sys.executable, "-c", "import time; time.sleep(4)"), dict(os.environ))
    began = time.process_time()
    watch = Watch(tmp_path, 1, Trial(backend="null"), 1.0)
    ended = execute([command], watch, 60, tmp_path / "lease")
    assert ended.returncode == 0
    assert (time.process_time() - began) / (ended.wall_ns / 1e9) < 0.02


def test_the_records_of_a_repeat_can_be_read_back(runs, tmp_path):
    done = paceline("run", write_study(tmp_path, "backend: 'null'\n"), "--runs", runs, cwd=tmp_path)
    (path,) = run_folder(done, tmp_path).glob("*/0/repeat.json")
    repeat = unseal(path.read_bytes(), Repeat)
    assert repeat.error is None and repeat.data_samples == 2 * 4 * (1 + 4 * 4)
    phases = [line.name for line in journal.read(path.parent, 0) if isinstance(line, Phase)]
    assert phases[-1] == "end"


def test_a_lost_rank_file_costs_the_row_its_speed_and_not_only_that_ranks_share(runs, tmp_path):
    done = paceline("run", write_study(tmp_path, "backend: 'null'\n"), "--runs", runs, cwd=tmp_path)
    folder = run_folder(done, tmp_path)
    (lost,) = folder.glob("*/0/rank-1.jsonl")
    lost.unlink()
    shown = paceline("report", folder, "--format", "text", cwd=tmp_path)
    assert "lacks windows that were measured" in " ".join(shown.stdout.split())
    assert (
        json.loads(paceline("report", folder, "--format", "json", cwd=tmp_path).stdout)["rows"][0]["status"] == "failed"
    )


def test_a_terminated_parent_takes_its_ranks_with_it(runs, tmp_path):
    path = write_study(tmp_path, "backend: 'null'\noptions: {step_ms: 300}\n")
    path.write_text(path.read_text().replace("name: check", "name: terminated"))
    process = start("run", path, "--runs", runs, cwd=tmp_path)
    rank = wait_until(lambda: rank_in_windows(runs, "terminated", 1))
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 75
    assert "told to end; finished launches are kept: paceline run --resume" in said
    with pytest.raises(ProcessLookupError):
        os.kill(rank.pid, 0)


def test_a_resumed_run_takes_no_other_settings(runs, tmp_path):
    done = paceline("run", write_study(tmp_path, "backend: 'null'\n"), "--runs", runs, cwd=tmp_path)
    folder = run_folder(done, tmp_path)
    refused = paceline("run", "--resume", folder, "--mpi", "--quick", cwd=tmp_path)
    assert refused.returncode == 2
    assert "--resume continues what was planned; leave out --mpi, --quick" in refused.stderr


def test_a_quick_run_of_trials_that_differ_in_timing_only_makes_one_launch(runs, tmp_path):
    path = write_study(tmp_path, "backend: 'null'\nmatrix:\n  timing.windows: [2, 4]\n")
    done = paceline("run", path, "--quick", "--runs", runs, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(result_of(run_folder(done, tmp_path)).trials) == 1


def test_a_plan_names_a_missing_data_file(tmp_path):
    path = write_study(tmp_path, "backend: 'null'\n")
    path.write_text(path.read_text().replace("{sequence_length", "{data: nope.txt, sequence_length"))
    done = paceline("plan", path, cwd=tmp_path)
    assert done.returncode == 2
    assert "study.yaml:6: workload.data is" in done.stderr and "there is no such file" in done.stderr


# ---- the folder as a whole ---------------------------------------------------------------------------------------


def test_a_changed_study_is_not_resumed_and_the_difference_is_named(runs, tmp_path):
    path = write_study(tmp_path, "backend: 'null'\n")
    folder = run_folder(paceline("run", path, "--runs", runs, cwd=tmp_path), tmp_path)
    same = paceline("run", path, "--resume", folder, cwd=tmp_path)
    assert same.returncode == 0, same.stderr
    path.write_text(path.read_text().replace("windows: 3", "windows: 5"))
    changed = paceline("run", path, "--resume", folder, cwd=tmp_path)
    assert changed.returncode == 2
    assert "timing.windows is 5 now and was 3; run it anew, or resume without it" in changed.stderr
    write_study(tmp_path, "backend: 'null'\n", repeats=2)
    assert "repeats is 2 now and was 1" in paceline("run", path, "--resume", folder, cwd=tmp_path).stderr


def test_two_pacelines_do_not_work_in_one_folder(runs, tmp_path):
    path = write_study(tmp_path, "backend: 'null'\noptions: {step_ms: 600}\n")
    path.write_text(path.read_text().replace("name: check", "name: twice"))
    process = start("run", path, "--runs", runs, cwd=tmp_path)
    wait_until(lambda: rank_in_windows(runs, "twice", 0))
    (folder,) = runs.glob("twice-*")
    second = paceline("run", "--resume", folder, cwd=tmp_path)
    assert second.returncode == 2
    assert "another paceline is running this study" in second.stderr
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 75, said


def test_fsck_names_every_file_that_is_not_whole_and_the_remedy(runs, tmp_path):
    folder = run_folder(
        paceline("run", write_study(tmp_path, "backend: 'null'\n"), "--runs", runs, cwd=tmp_path), tmp_path
    )
    clean = paceline("fsck", folder, cwd=tmp_path)
    assert clean.returncode == 0, clean.stdout
    (journal_path,) = folder.glob("*/0/rank-1.jsonl")
    content = journal_path.read_bytes()
    journal_path.write_bytes(content.replace(b'"samples":16', b'"samples":61'))
    (folder / "windows.parquet").unlink()
    found = paceline("fsck", folder, cwd=tmp_path)
    assert found.returncode == 1
    assert "its checksum is another" in found.stdout and "not the file that result.json describes" in found.stdout
    assert "remedy: remove" in found.stdout and "derives it anew" in found.stdout
    shown = paceline("report", folder, "--format", "text", cwd=tmp_path)
    assert "is not the file that the launch left" in " ".join(shown.stdout.split())


def test_launches_are_added_until_the_interval_is_narrow_and_the_result_says_why_it_ended(runs, tmp_path):
    path = write_study(
        tmp_path, "backend: 'null'\noptions: {step_ms: 3}\ntarget_half_width: 0.0001\nmost_repeats: 4\n", repeats=3
    )
    done = paceline("run", path, "--runs", runs, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (trial,) = result_of(run_folder(done, tmp_path)).trials
    assert [repeat.repeat for repeat in trial.repeats] == [0, 1, 2, 3]
    assert trial.stopped is not None and trial.stopped.startswith("most_repeats (4) was reached with a half-width of")
