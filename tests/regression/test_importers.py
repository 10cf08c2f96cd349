"""Files as other benchmarks write them, in this project's units."""

import csv
import io
import json

import pytest
from click.testing import CliRunner

from bench import importers
from bench.cli import cli
from bench.errors import UserError
from bench.importers import Collective, Training, columns

HOROVOD = """Model: resnet50
Batch size: 32
Number of GPUs: 4
Running warmup...
Running benchmark...
Iter #0: 100.0 img/sec per GPU
Iter #1: 200.0 img/sec per GPU
Img/sec per GPU: 150.0 +-98.0
Total img/sec on 4 GPU(s): 600.0 +-392.0
"""
NCCL = {
    "version": 2,
    "start_time": "2026-01-02 03:04:05",
    "args": ["./build/all_reduce_perf", "-b", "8", "-e", "16M", "-a", "3"],
    "env": ["SECRET=1"],
    "nccl_version": 22304,
    "config": {
        "nthreads": 1, "ngpus": 2, "minimum_bytes": 8, "maximum_bytes": 16777216, "step_factor": 2, "warmup_iters": 1,
        "iterations": 20, "aggregated_iterations": 1, "validation": 1, "graph": 0, "blocking_collectives": "false",
        "parallel_init": "false",
        "devices": [
            {"rank": 0, "group": 0, "pid": 1, "hostname": "a", "device": 0, "device_hex": "0", "device_info": "H100"},
            {"rank": 2, "group": 0, "pid": 2, "hostname": "b", "device": 0, "device_hex": "0", "device_info": "H100"},
        ],
    },
    "results": [
        {
            "size": 16000000, "count": 4000000, "type": "float", "redop": "sum", "root": "    -1",
            "out_of_place": {"time": 160.0, "alg_bw": 100.0, "bus_bw": 150.0, "nwrong": 0.0},
            "in_place": {"time": 200.0, "alg_bw": 80.0, "bus_bw": 120.0, "nwrong": None},
            "actual_iterations": 20, "experiment_name": "",
        }
    ],
    "out_of_bounds": {"count": 0, "okay": "true"},
}  # fmt: skip
PYTEST = {
    "machine_info": {"node": "box"},
    "commit_info": {},
    "benchmarks": [
        {
            "group": None, "name": "test_step", "fullname": "tests/test_speed.py::test_step", "extra_info": {},
            "stats": {"min": 0.1, "max": 0.3, "median": 0.2, "total": 0.6, "rounds": 3, "data": [0.1, 0.2, 0.3]},
        }
    ],
    "version": "5.3.1",
}  # fmt: skip


def read(tmp_path, *contents) -> list[importers.Imported]:
    return importers.read([written(tmp_path, content, place) for place, content in enumerate(contents)])


def written(tmp_path, content, place=0):
    path = tmp_path / f"file-{place}"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_horovods_rate_is_total_over_total_and_not_the_mean_of_rates(tmp_path):
    (found,) = read(tmp_path, HOROVOD)
    assert isinstance(found, Training)
    # equal batches at 100/s and 200/s: harmonic mean 133.3, on 4 replicas; theirs says 600
    assert found.launch_rates == [pytest.approx(4 * 400 / 3)]
    assert (found.replicas, found.model, found.batch_per_replica) == (4, "resnet50", 32)
    assert found.step_ms == [320.0, 160.0]


def test_one_output_is_one_launch_and_their_plus_minus_is_no_interval(tmp_path):
    row = columns(read(tmp_path, HOROVOD)[0])
    assert (row["launches"], row["samples_per_second_low"], row["samples_per_second_high"]) == (1, None, None)
    assert "a slower rank is not seen" in row["note"]


def test_three_outputs_are_three_launches_with_an_interval(tmp_path):
    row = columns(read(tmp_path, HOROVOD, HOROVOD, HOROVOD.replace("100.0 img", "105.0 img"))[0])
    assert row["launches"] == 3
    assert row["samples_per_second_low"] < row["samples_per_second"] < row["samples_per_second_high"]
    assert columns(read(tmp_path, HOROVOD + HOROVOD)[0])["launches"] == 2


def test_a_launchers_prefix_on_every_line_does_not_matter(tmp_path):
    prefixed = "".join(f"[1,0]<stdout>:{line}\n" for line in HOROVOD.splitlines())
    assert read(tmp_path, prefixed) == read(tmp_path, HOROVOD)


def test_another_batch_is_another_row(tmp_path):
    assert len(read(tmp_path, HOROVOD, HOROVOD.replace("size: 32", "size: 64"))) == 2


def test_nccl_tests_become_bytes_and_seconds(tmp_path):
    out, inside = read(tmp_path, NCCL)
    assert isinstance(out, Collective)
    assert (out.label, out.message_bytes, out.elements, out.dtype, out.operation) == (
        "all_reduce", 16_000_000, 4_000_000, "float", "sum",
    )  # fmt: skip
    assert (out.ranks, out.seconds, out.wrong_elements, out.in_place) == (4, [pytest.approx(160e-6)], 0, False)
    # 1e5 bytes per microsecond; 2 (4 - 1) / 4 = 1.5
    assert columns(out)["algbw_bytes_per_second"] == pytest.approx(1e11)
    assert columns(out)["busbw_bytes_per_second"] == pytest.approx(1.5e11)
    assert (inside.in_place, inside.wrong_elements) == (True, None)


def test_a_mean_over_ranks_is_not_passed_off_as_the_slowest_rank(tmp_path):
    assert read(tmp_path, NCCL)[0].note is None
    found = read(tmp_path, NCCL | {"args": ["all_reduce_perf"]})
    assert found[0].note == "not the slowest rank's time: run with -a 3 for that"


def test_cpu_time_is_not_taken_for_the_time_of_the_collective(tmp_path):
    body = {"cpu_time": 5.0, "alg_bw": 100.0, "bus_bw": 150.0, "nwrong": None}
    line = NCCL["results"][0] | {"out_of_place": None, "in_place": body}
    (found,) = read(tmp_path, NCCL | {"results": [line]})
    assert (found.seconds, columns(found)["seconds"]) == (None, None)


def test_of_pytest_benchmark_the_samples_are_unknown(tmp_path):
    row = columns(read(tmp_path, PYTEST)[0])
    assert (row["step_ms_median"], row["samples_per_second"], row["launches"]) == (200.0, None, None)
    assert row["label"] == "tests/test_speed.py::test_step"


def test_a_file_saved_without_its_data_has_a_median_and_no_tail(tmp_path):
    bare = json.loads(json.dumps(PYTEST))
    del bare["benchmarks"][0]["stats"]["data"]
    row = columns(read(tmp_path, bare)[0])
    assert (row["step_ms_median"], row["step_ms_p95"]) == (200.0, None)


def test_what_our_own_fixture_wrote_comes_back_as_rates_of_launches(tmp_path):
    own = json.loads(json.dumps(PYTEST))
    own["benchmarks"][0]["extra_info"] = {
        "paceline": {"replicas": 2, "model": "tiny", "batch_per_replica": 4, "launch_rates": [100.0, 100.0, 100.0]}
    }
    row = columns(read(tmp_path, own)[0])
    assert (row["samples_per_second"], row["samples_per_second_low"]) == (pytest.approx(100), pytest.approx(100))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "is empty; known are"),
        ("hello", "is of a kind that is not known"),
        ('{"machine_info": {}, "benchm', "is cut off, or no JSON"),
        ({"some": "thing"}, "JSON of another kind; known are"),
        (HOROVOD.replace("Model: resnet50\n", ""), "prints `Model: NAME` first, and it is missing"),
        (HOROVOD[: HOROVOD.index("Total")], "the line `Total img/sec on N GPU(s), its last line` is missing"),
        ("\n".join(line for line in HOROVOD.splitlines() if "Iter" not in line), "has no iteration with a rate above 0"),
        (NCCL | {"version": 7}, "nccl-tests' JSON of format 7; known are 1 and 2"),
        (NCCL | {"results": []}, "there is no result in it"),
        ({"version": 2, "nccl_version": 1}, "missing required field `args`"),
        (PYTEST | {"benchmarks": []}, "there is no benchmark in it"),
        (PYTEST | {"benchmarks": [{"fullname": "a"}]}, "missing required field `stats`"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence_with_the_file(tmp_path, content, sentence):
    with pytest.raises(UserError) as refused:
        read(tmp_path, content)
    said = str(refused.value)
    assert sentence in said
    assert said.startswith(str(tmp_path / "file-0"))
    assert "\n" not in said


def test_binary_and_missing_files_are_one_sentence(tmp_path):
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="is not text"):
        importers.read([tmp_path / "binary"])
    with pytest.raises(UserError, match="No such file"):
        importers.read([tmp_path / "none"])


def test_the_command_prints_a_table_and_writes_csv_and_json(tmp_path):
    paths = [str(written(tmp_path, HOROVOD, 0)), str(written(tmp_path, NCCL, 1))]
    shown = CliRunner().invoke(cli, ["import", *paths], standalone_mode=False)
    assert "horovod resnet50" in shown.output and "all_reduce" in shown.output
    assert "SECRET" not in shown.output
    as_json = CliRunner().invoke(cli, ["import", *paths, "--format", "json"], standalone_mode=False)
    assert len(json.loads(as_json.output)["rows"]) == 3
    out = tmp_path / "out.csv"
    CliRunner().invoke(cli, ["import", paths[0], "--format", "csv", "-o", str(out)], standalone_mode=False)
    (row,) = csv.DictReader(io.StringIO(out.read_text()))
    assert (row["replicas"], row["batch_per_replica"]) == ("4", "32")


def test_a_hostile_name_starts_no_formula_in_a_spreadsheet(tmp_path):
    evil = json.loads(json.dumps(PYTEST))
    evil["benchmarks"][0]["fullname"] = "=1+1"
    assert "'=1+1" in importers.render(read(tmp_path, evil), "csv")
