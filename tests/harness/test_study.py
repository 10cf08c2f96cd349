"""Studies: strict decoding with file and line, and the matrix."""

from pathlib import Path

import pytest

from bench import catalog, study
from bench.errors import UserError

MINIMAL = "backend: 'null'\nlauncher: local\n"


def load(tmp_path: Path, text: str, **given):
    path = tmp_path / "study.yaml"
    path.write_text(text)
    return study.load(path, **given)


def refusal(tmp_path: Path, text: str, **given) -> str:
    with pytest.raises(UserError) as caught:
        load(tmp_path, text, **given)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence.replace(str(tmp_path) + "/", "")


def test_lists_under_matrix_are_axes_and_their_product_is_the_trials(tmp_path):
    text = (
        "launcher: local\nmatrix:\n  backend: ['null']\n  replicas: [1, 2, 3]\n  workload.sequence_length: [16, 32]\n"
    )
    trials = load(tmp_path, text).trials
    assert [(trial.replicas, trial.workload.sequence_length) for trial in trials] == [
        (1, 16), (1, 32), (2, 16), (2, 32), (3, 16), (3, 32),
    ]  # fmt: skip


def test_a_list_outside_matrix_is_one_value(tmp_path):
    (trial,) = load(tmp_path, MINIMAL + "options: {step_ms: [10, 12]}\n").trials
    assert trial.options == {"step_ms": [10, 12]}


def test_the_id_of_a_trial_changes_with_its_content_and_with_nothing_else(tmp_path):
    first = load(tmp_path, MINIMAL).trials[0].id
    assert load(tmp_path, "# a comment\nrepeats: 7\n" + MINIMAL).trials[0].id == first
    assert load(tmp_path, MINIMAL + "workload: {seed: 2}\n").trials[0].id != first


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("backend: 'null'\nrepeets: 3\n", "study.yaml:2: a study has no key 'repeets'; did you mean 'repeats'?"),
        ("backend: 'null'\nworkload:\n  modle: tiny\n", "study.yaml:3: workload has no key 'modle'; did you mean 'model'?"),
        ("backend: torch_dpd\n", "study.yaml:1: no backend is called 'torch_dpd'; did you mean 'torch_ddp'?"),
        ("matrix:\n  backend: [torch_dpd]\n", "study.yaml:2: no backend is called 'torch_dpd'; did you mean 'torch_ddp'?"),
        ("backend: 'null'\nreplicas: two\n", "study.yaml:2: replicas is 'two'; expected a whole number, got text"),
        ("backend: 'null'\nreplicas: 0\n", "study.yaml:2: replicas is 0; expected a whole number >= 1"),
        ("backend: 'null'\nrepeats: 0\n", "study.yaml:2: repeats is 0; expected a whole number >= 1"),
        ("backend: 'null'\ncompute: float8\n", "study.yaml:2: compute is 'float8'; allowed are float32, tf32, float16, bfloat16; did you mean 'float32'?"),
        ("backend: 'null'\nallreduce: rign\n", "study.yaml:2: allreduce is 'rign'; allowed are auto, ring, tree, halving_doubling, recursive_doubling, hierarchical, star; did you mean 'ring'?"),
        ("backend: 'null'\nbackend: 'null'\n", "study.yaml:2: the key 'backend' stands in line 1 already"),
        ("backend: 'null'\nmatrix:\n  replicas: 2\n", "study.yaml:3: matrix.replicas must be a list of values, got 2"),
        ("backend: 'null'\nmatrix:\n  replicas: [2, x]\n", "study.yaml:3: replicas is 'x'; expected a whole number, got text"),
        ("backend: 'null'\nmatrix:\n  workload.modle: [tiny]\n", "study.yaml:3: workload has no key 'modle'; did you mean 'model'?"),
        ("backend: 'null'\noptions: {bucket_cap_bm: 3}\n", "study.yaml:2: no backend has an option 'bucket_cap_bm'; did you mean 'bucket_cap_mb'?"),
        ("replicas: 2\n", "study.yaml: a study needs a backend; allowed are null, null_bare, tf_bare, tf_horovod, tf_mirrored, torch_bare, torch_ddp, torch_horovod"),
        ("", "study.yaml: empty; `paceline init` writes a study to start from"),
        ("- a\n", "study.yaml:1: the top level must be `key: value` lines, got ['a']"),
        ("backend: null\n", 'study.yaml:1: backend is empty (YAML\'s null; quote a word that is meant: "null"); expected text, got nothing'),
        ("backend: 'null'\nworkload: {global_batch: 4, batch_per_replica: 2}\n", "study.yaml:2: give workload.global_batch or workload.batch_per_replica, not both"),
        ("backend: 'null'\ntimeout_s: .inf\n", "study.yaml:2: timeout_s is inf; expected a finite number"),
        ("backend: 'null'\nmatrix:\n  optimizer.learning_rate: [.nan]\n", "study.yaml:3: matrix.optimizer.learning_rate is nan; expected a finite number"),
        ("name: ../evil\nbackend: 'null'\n", "study.yaml:1: name is '../evil'; expected text matching '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'"),
        ("name: \"a\\0b\"\nbackend: 'null'\n", "study.yaml:1: name holds characters that cannot be printed"),
        ("base: &b {replicas: 2}\n<<: *b\nbackend: 'null'\n", "study.yaml:2: merged keys (<<) are not supported; write the keys out"),
        ("backend: 'null'\nmatrix:\n  workload: [{seed: 2}]\n", "study.yaml:3: workload is a section; make its keys the axes, as in workload.KEY: [values]"),
        ("backend: 'null'\nreplicas: 1000000\n", "study.yaml:2: replicas is 1000000; expected a whole number <= 16384"),
        ("backend: 'null'\nthreads_per_replica: x\n", "study.yaml:2: threads_per_replica is 'x'; expected auto or a whole number, got text"),
        ("backend: 'null'\nthreads_per_replica: 0\n", "study.yaml:2: threads_per_replica is 0; expected auto or a whole number >= 1"),
        ("backend: 'null'\noptions: {step_ms: ~}\n", 'study.yaml:2: options.step_ms is empty (YAML\'s null; quote a word that is meant: "null"); expected true or false, a number, text or a list, got nothing'),
        ("backend: 'null'\ncompile: !!bool maybe\n", "study.yaml:2: compile is 'maybe'; expected true or false"),
        ("backend: 'null'\nreplicas: 0x_\n", "study.yaml:2: replicas is '0x_'; expected a whole number of at most 64 bits"),
        ("backend: 'null'\nseed: 9223372036854775808\n", "study.yaml:2: seed is '9223372036854775808'; expected a whole number of at most 64 bits"),
        ("backend: 'null'\nname: 2026-01-02\n", "study.yaml:2: name has the YAML type 'timestamp'; allowed are text (in quotes where it looks like something else), numbers, true and false, lists and `key: value` lines"),
        ("backend: 'null'\nmatrix: {replicas: &a [*a]}\n", "study.yaml:2: more than 10000 values or 20 levels, aliases expanded; this is not a study"),
        ("%YAML 1.1\n---\nbackend: 'null'\n", "study.yaml:1: '%YAML 1.1' is a directive; expected YAML 1.2 without any"),
        ("backend: 'null'\n3: x\n", "study.yaml:2: a key is '3'; expected text, in quotes where it looks like something else"),
        ("backend: 'null'\nworkload: {vocabulary: /nope}\n", "study.yaml:2: workload.vocabulary is '/nope': there is no such file; allowed are 'trained', a vocab.txt, a tokenizer.json or a folder with one"),
        ("backend: 'null'\nname: \"\\Uffffffff\"\n", "study.yaml: not valid YAML: an escape in it, as \\U0010ffff is one, names no character"),
        ("a: [1\n", "study.yaml:2: expected ',' or ']', but got '<stream end>'"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_with_file_line_value_and_remedy(tmp_path, text, sentence):
    assert refusal(tmp_path, text) == sentence


def test_a_missing_study_says_how_to_get_one(tmp_path):
    with pytest.raises(UserError, match="no such file; `paceline init` writes a study"):
        study.load(tmp_path / "none.yaml")


def test_an_alias_bomb_is_refused_quickly(tmp_path):
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{name}: &{name} [{','.join([f'*{below}'] * 9)}]\n" for below, name in zip("abcdefg", "bcdefgh", strict=True)
    )
    assert "more than 10000 values" in refusal(tmp_path, bomb)


def test_text_that_is_not_utf8_is_refused(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_bytes(b"backend: \xff\n")
    with pytest.raises(UserError, match="not UTF-8 text"):
        study.load(path)


def test_room_for_fewer_replicas_keeps_the_row_and_says_why(tmp_path):
    found = load(tmp_path, "launcher: local\nmatrix: {backend: ['null'], replicas: [1, 2, 4]}\n", slots=2)
    assert [trial.replicas for trial in found.trials] == [1, 2]
    assert [(row.trial.replicas, row.reason) for row in found.rejected] == [(4, "-np 2 leaves no room for 4 replicas")]


def test_threads_are_shared_out_on_the_fullest_host(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "cores", lambda: 16)
    text = "backend: torch_ddp\nbare: false\nreplicas: 16\nlauncher: horovodrun\n"
    found = load(tmp_path, text, slots=16, hosts=(("h1", 8), ("h2", 8)))
    assert {trial.threads_per_replica for trial in (*found.trials, *(row.trial for row in found.rejected))} == {2}


def test_without_horovodrun_the_ranks_are_started_by_paceline_itself_and_a_note_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(catalog, "program", lambda name: None)
    found = load(tmp_path, "backend: 'null'\n")
    assert [trial.launcher for trial in found.trials] == ["local"]
    assert any("horovodrun is not installed here" in note for note in found.notes)


def test_np_sets_the_replicas_of_a_study_without_that_axis(tmp_path):
    assert [trial.replicas for trial in load(tmp_path, MINIMAL, slots=3).trials] == [3]


def test_a_global_batch_is_divided_among_the_replicas_or_the_row_says_why_not(tmp_path):
    text = "launcher: local\nworkload: {global_batch: 8}\nmatrix: {backend: ['null'], replicas: [1, 2, 3]}\n"
    found = load(tmp_path, text)
    assert [trial.workload.batch_per_replica for trial in found.trials] == [8, 4]
    assert found.rejected[0].reason == "the global batch of 8 does not divide among 3 replicas"


def test_what_a_backend_cannot_select_is_a_row_with_the_reason(tmp_path):
    found = load(tmp_path, MINIMAL + "allreduce: tree\n")
    assert found.trials == []
    assert found.rejected[0].reason == "null cannot select all-reduce tree; it has auto"


def test_an_option_of_another_backend_is_a_row_with_the_reason(tmp_path):
    found = load(tmp_path, MINIMAL + "options: {bucket_cap_mb: 5}\n")
    assert found.rejected[0].reason == "null has no option 'bucket_cap_mb'"


def test_paths_are_relative_to_the_study(tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("Some text.\n")
    (trial,) = load(tmp_path, MINIMAL + "workload: {data: texts/a.txt}\n").trials
    assert trial.workload.data == str(tmp_path / "texts" / "a.txt")


def test_the_default_study_has_six_cells():
    missing = [name for name in catalog.entries() if catalog.why_not_installed(name)]
    if missing:
        pytest.skip(f"not installed here: {', '.join(missing)}")
    found = study.load(Path(__file__).parents[2] / "studies" / "default.yaml")
    assert [(trial.backend, trial.replicas) for trial in found.trials] == [
        ("torch_bare", 1), ("tf_bare", 1),
        ("torch_ddp", 2), ("torch_horovod", 2), ("tf_horovod", 2), ("tf_mirrored", 2),
    ]  # fmt: skip
    assert found.header.repeats == 3
    assert {trial.launcher for trial in found.trials} == {"horovodrun"}
