"""Cluster profiles: what is refused, and that the message says what to do."""

import re
from pathlib import Path

import pytest

from slurm.profile import load, seconds

MINIMAL = 'nodes: 2\ngpus_per_node: 4\ntime: "24:00:00"\n'
EXAMPLE = Path(__file__).parents[2] / "configs/clusters/example.yaml"


def write(folder: Path, text: str) -> Path:
    path = folder / "cluster.yaml"
    path.write_text(text)
    return path


def test_three_keys_make_a_profile(tmp_path: Path) -> None:
    profile = load(write(tmp_path, MINIMAL))
    assert (profile.nodes, profile.tasks, profile.partition) == (2, 4, None)


def test_a_cluster_without_gpus_says_its_processes_a_node(tmp_path: Path) -> None:
    profile = load(write(tmp_path, 'nodes: 2\ngpus_per_node: 0\ntasks_per_node: 3\ntime: "30"\n'))
    assert profile.tasks == 3


def test_the_example_profile_is_valid() -> None:
    assert load(EXAMPLE).tasks == 8


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        (
            MINIMAL + "partitoin: gpu\n",
            "partitoin is no key of a cluster profile (they are nodes,",
        ),
        ('gpus_per_node: 4\ntime: "30"\n', "nodes is missing"),
        (MINIMAL.replace("2", "0", 1), "nodes is 0: Input should be greater than or equal to 1"),
        (MINIMAL.replace('"', ""), 'time is 86400: put it in quotes, as in "24:00:00"'),
        (MINIMAL.replace("24:00:00", "a day"), "time is 'a day': write it as Slurm does"),
        (MINIMAL.replace("24:00:00", "5"), "grace_s: 300 s leave no time to train before the limit of 300 s"),
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
    ],
)
def test_a_wrong_profile_is_refused_with_file_key_and_advice(tmp_path: Path, text: str, advice: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ValueError, match=re.escape(f"{path}: ")) as refused:
        load(path)
    assert advice in str(refused.value)
    assert "\n" not in str(refused.value)


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
