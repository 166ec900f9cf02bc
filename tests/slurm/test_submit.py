"""The rendered script, held against a golden file, and its way to sbatch."""

import subprocess
from pathlib import Path

import pytest

from pipeline.errors import SUPERSEDED_EXIT
from slurm.profile import ClusterProfile, load
from slurm.submit import RESUME_EXIT, SubmitError, job_name, render_train, submit

GOLDEN = Path(__file__).with_name("example.sbatch")
EXAMPLE = Path(__file__).parents[2] / "configs/clusters/example.yaml"
MINIMAL = ClusterProfile(nodes=1, gpus_per_node=0, tasks_per_node=2, time="30")


def test_the_example_renders_to_the_golden_script() -> None:
    """To accept a change, read it and write the new text over the golden file."""
    script = render_train(load(EXAMPLE), "configs/models/gpt2-small.yaml", ["seed=7", "name=two words"])
    assert script == GOLDEN.read_text()


@pytest.mark.parametrize("profile", [load(EXAMPLE), MINIMAL], ids=["example", "minimal"])
def test_bash_and_sbatch_can_read_the_script(profile: ClusterProfile) -> None:
    script = render_train(profile, "gpt2.yaml")
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    lines = script.splitlines()
    first_command = next(n for n, line in enumerate(lines) if line and not line.startswith("#"))
    assert not any(line.startswith("#SBATCH") for line in lines[first_command:])  # sbatch would not see it


def test_what_a_profile_leaves_out_is_not_asked_for() -> None:
    script = render_train(MINIMAL, "gpt2.yaml")
    for word in ("partition", "account", "gres", "--mem", "None"):
        assert word not in script


def test_values_reach_the_processes_as_they_are_written(tmp_path: Path) -> None:
    """Run the script with stand-ins for Slurm's two commands: quotes, spaces and dollars must survive."""
    stand_in = '#!/bin/sh\nfor a; do printf "[%s]" "$a"; done\nprintf "[%s]" "$TOKEN"\n'
    run = execute(
        tmp_path, MINIMAL.model_copy(update={"env": {"TOKEN": "it's $5"}}), stand_in, ["name='a $b'"]
    )
    assert run.stdout.endswith("[outbound][train][gpt 2.yaml][name='a $b'][it's $5]")


def test_a_run_that_was_stopped_early_is_queued_again(tmp_path: Path) -> None:
    run = execute(tmp_path, MINIMAL, f"#!/bin/sh\nexit {RESUME_EXIT}\n")
    assert "requeue 41" in run.stdout
    assert run.returncode == RESUME_EXIT


@pytest.mark.parametrize("code", [0, 1, SUPERSEDED_EXIT, 137])
def test_a_run_that_ended_failed_or_was_taken_over_is_not_queued_again(tmp_path: Path, code: int) -> None:
    run = execute(tmp_path, MINIMAL, f"#!/bin/sh\nexit {code}\n")
    assert "requeue" not in run.stdout
    assert run.returncode == code


def test_the_processes_meet_at_the_first_nodes_address(tmp_path: Path) -> None:
    run = execute(tmp_path, MINIMAL, '#!/bin/sh\necho "at $MASTER_ADDR:$MASTER_PORT"\n')
    assert run.stdout.splitlines()[-1] == "at 10.0.0.7:10041"


def test_a_set_up_that_fails_stops_the_job(tmp_path: Path) -> None:
    profile = MINIMAL.model_copy(update={"setup": ("echo $NOT_SET", "false")})
    run = execute(tmp_path, profile, "#!/bin/sh\necho trained\n")
    assert run.returncode == 1
    assert "trained" not in run.stdout


def execute(
    folder: Path, profile: ClusterProfile, srun: str, overrides: list[str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run the rendered script in bash as job 41 on two nodes; `srun` is the text of its stand-in."""
    scontrol = (
        "#!/bin/sh\ncase $1$2 in\n"
        'showhostnames) printf "node7\\nnode8\\n";;\n'
        'shownode) echo "NodeName=$3 CPUs=2"; echo "   NodeAddr=10.0.0.7 NodeHostName=$3";;\n'
        '*) echo "$@";;\nesac\n'
    )
    for name, text in {"srun": srun, "scontrol": scontrol}.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    job = {"SLURM_JOB_ID": "41", "SLURM_JOB_NODELIST": "node[7-8]", "SLURM_CPUS_PER_TASK": "1"}
    script = render_train(profile, "gpt 2.yaml", overrides or [])
    return subprocess.run(
        ["bash"], input=script, env={"PATH": f"{folder}:/usr/bin:/bin"} | job, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ("gpt2-xl.yaml", "outbound-train-gpt2-xl"),
        ("/a b/my run.yml", "outbound-train-my-run"),
        ("gpt3-2.7b.yaml", "outbound-train-gpt3-2.7b"),
    ],
)
def test_a_job_is_named_after_its_configuration(config: str, name: str) -> None:
    assert job_name("train", config) == name


def test_a_job_id_is_what_sbatch_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sbatch(tmp_path, monkeypatch, 'cat > script; echo "123;bigcluster"')
    assert submit("the script") == "123"
    assert (tmp_path / "script").read_text() == "the script"


def test_slurms_reason_for_refusing_a_job_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sbatch(tmp_path, monkeypatch, 'echo "sbatch: error: invalid partition" >&2; exit 1')
    with pytest.raises(SubmitError, match="invalid partition"):
        submit("the script")


def test_without_slurm_the_user_is_told_where_to_submit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SubmitError, match="submit from a login node, or print the script by --dry-run"):
        submit("the script")


def sbatch(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Put a stand-in for sbatch on the path, and stand in its folder."""
    (folder / "sbatch").write_text(f"#!/bin/sh\n{body}\n")
    (folder / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.chdir(folder)
