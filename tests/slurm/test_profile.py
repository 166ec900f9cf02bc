"""Cluster profiles: what is refused, and that the message says what to do."""

import re
from pathlib import Path

import pytest

from slurm.profile import ProfileError, load, load_train, processes, seconds

MINIMAL = 'nodes: 2\ngpus_per_node: 4\ntime: "24:00:00"\n'
SHIPPED = sorted((Path(__file__).parents[2] / "configs/clusters").glob("*.yaml"))


def write(folder: Path, text: str) -> Path:
    path = folder / "cluster.yaml"
    path.write_text(text)
    return path


def test_three_keys_make_a_profile(tmp_path: Path) -> None:
    profile = load_train(write(tmp_path, MINIMAL))
    assert (profile.nodes, profile.tasks, profile.partition) == (2, 4, None)


def test_one_key_is_enough_for_a_corpus(tmp_path: Path) -> None:
    assert load(write(tmp_path, 'time: "30"\n'), "cpu").cpus_per_task == 1


def test_a_profile_without_parts_serves_every_kind_of_job(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL + "partition: all\n")
    assert {load(path, part).partition for part in ("train", "fetch", "cpu")} == {"all"}


def test_keys_of_a_part_count_before_the_profiles_and_environments_add_up(tmp_path: Path) -> None:
    parts = 'env: {A: 1, B: 1}\nparts:\n  fetch: {partition: dtn, time: "7-0", env: {B: 2}}\n'
    path = write(tmp_path, MINIMAL + parts)
    fetch, cpu = load(path, "fetch"), load(path, "cpu")
    assert (fetch.partition, fetch.time, fetch.env) == ("dtn", "7-0", {"A": "1", "B": "2"})
    assert (cpu.partition, cpu.time, cpu.env) == (None, "24:00:00", {"A": "1", "B": "1"})


def test_a_key_of_one_kind_of_job_is_nothing_to_the_others(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL + "gpus: 2\n")
    assert load(path, "eval").model_dump()["gpus"] == 2
    assert load(path, "cpu").cpus_per_task == 1
    assert load_train(path).tasks == 4


def test_a_cluster_without_gpus_says_its_processes_a_node(tmp_path: Path) -> None:
    profile = load_train(write(tmp_path, 'nodes: 2\ngpus_per_node: 0\ntasks_per_node: 3\ntime: "30"\n'))
    assert profile.tasks == 3


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_shipped_profiles_are_valid(path: Path) -> None:
    assert load_train(path).tasks
    assert load(path, "fetch").time
    assert load(path, "cpu").cpus_per_task > 1


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        (
            MINIMAL + "partitoin: gpu\n",
            "partitoin is no key of a cluster profile: write partition, or remove it",
        ),
        (MINIMAL + "colour: red\n", "colour is no key of a cluster profile (they are time, partition,"),
        (MINIMAL + "gpus_by: cores\n", "gpus_by is 'cores': Input should be 'gres', 'gpus-per-node' or"),
        (MINIMAL + "parts: {cpu: {gpus_by: gres}}\n", "gpus_by is a key of training and evaluation only"),
        ('gpus_per_node: 4\ntime: "30"\n', "nodes is missing"),
        (MINIMAL.replace("2", "0", 1), "nodes is 0: Input should be greater than or equal to 1"),
        (MINIMAL.replace('"', ""), 'time is 86400: put it in quotes, as in "24:00:00"'),
        (MINIMAL.replace("24:00:00", "a day"), "time is 'a day': write it as Slurm does"),
        (MINIMAL.replace("24:00:00", "5"), "grace_s: 300 s leave no time to work before the limit of 300 s"),
        (MINIMAL + "grace_s: 10\n", "grace_s is 10: Input should be greater than or equal to 60"),
        (MINIMAL + "mem: lots\n", "mem is 'lots'"),
        (MINIMAL + 'partition: "gpu\\nrm -rf"\n', "partition is 'gpu\\nrm -rf'"),
        (MINIMAL + "options: [qos=high]\n", "'qos=high' is no sbatch option: write it as in '--qos=high'"),
        (MINIMAL + "env: {A-B: 1}\n", "env.A-B"),
        (
            MINIMAL + "tasks_per_node: 2\n",
            "leave it out, one process is started for each GPU",
        ),
        (MINIMAL.replace("4", "0", 1), "tasks_per_node: give the processes a node"),
        ("nodes: [", "not YAML"),
        ("just words", "expected keys like 'nodes: 4'"),
        (
            MINIMAL + "parts: [fetch]\n",
            "parts is ['fetch']: write keys below a part, as in 'fetch: {mem: 8G}'",
        ),
        (MINIMAL + "parts: {fetch: }\n", "parts is {'fetch': None}: write keys below a part"),
        (
            MINIMAL + "parts: {gpu: {}}\n",
            "parts.gpu is no kind of job (they are train, eval, links, fetch, cpu)",
        ),
        (MINIMAL + "parts: {cpu: {mem: lots}}\n", "parts.cpu.mem is 'lots'"),
        (MINIMAL + "parts: {cpu: {parts: {}}}\n", "parts.cpu.parts is no key of a cluster profile"),
        (MINIMAL + "parts: {fetch: {nodes: 2}}\n", "parts.fetch.nodes is a key of training only"),
        (MINIMAL + "parts: {train: {nodes: many}}\n", "parts.train.nodes is 'many'"),
    ],
)
def test_a_wrong_profile_is_refused_with_file_key_and_advice(tmp_path: Path, text: str, advice: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ValueError, match=re.escape(f"{path}: ")) as refused:
        load_train(path)
    assert advice in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_mistake_in_another_part_is_told_too(tmp_path: Path) -> None:
    path = write(tmp_path, 'time: "30"\nparts: {train: {nodes: many}, fetch: {}}\n')
    with pytest.raises(ValueError, match=re.escape("parts.train.nodes is 'many'")):
        load(path, "cpu")


def test_a_mistake_hides_no_other_and_leaves_the_number_of_processes(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL + "mem: lots\npartitoin: gpu\nparts: {gpu: {}, cpu: {tmie: 3}}\n")
    with pytest.raises(ProfileError) as refused:
        load_train(path)
    for mistake in ("mem is 'lots'", "write partition", "parts.gpu is no kind", "parts.cpu.tmie is no key"):
        assert mistake in str(refused.value)
    assert processes(path) == 8
    assert processes(write(tmp_path, MINIMAL.replace("4", "many", 1))) is None


def test_a_mistake_that_all_parts_share_is_told_once(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL + "mem: lots\nparts: {fetch: {}, cpu: {}}\n")
    with pytest.raises(ValueError, match="mem is 'lots'") as refused:
        load_train(path)
    assert str(refused.value).count("lots") == 1


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("90", 5400),
        ("90:30", 5430),
        ("24:00:00", 86400),
        ("1-0", 86400),
        ("1-00:30", 88200),
        ("1-00:00:01", 86401),
        ("1:2:3:4", None),
        ("1-", None),
        ("UNLIMITED", None),
        ("", None),
    ],
)
def test_time_limits_are_read_as_slurm_reads_them(limit: str, expected: int | None) -> None:
    assert seconds(limit) == expected
