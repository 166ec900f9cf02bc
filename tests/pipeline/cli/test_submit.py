"""`outbound submit`: what is checked before, what is handed to sbatch, and what is noted of it."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from dataprep.audit.under_way import under_way
from slurm import submissions
from slurm.submissions import Submission, of_directory
from support import open_work, packed_corpus
from support.cli import result, run
from support.slurm_commands import SlurmCommands
from support.toy_eval import models as evaluated

PROFILE = 'time: "30"\nnodes: 2\ngpus_per_node: 0\ntasks_per_node: 1\nparts: {fetch: {partition: dtn}}\n'
CONTACT = ("--contact", "you@example.org")


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SlurmCommands:
    monkeypatch.chdir(tmp_path)
    Path("cluster.yaml").write_text(PROFILE)
    Path("RS_2013-08.json").write_text("{}\n")
    return SlurmCommands(tmp_path / "commands", monkeypatch)


@pytest.fixture
def corpus(slurm: SlurmCommands) -> Path:
    result("corpus", "init", "mine")
    return Path("mine")


def submit(*words: object) -> tuple[int, str]:
    """The exit code of a submission, and what it says."""
    ended = run("submit", *words, "--cluster", "cluster.yaml")
    return ended.returncode, ended.stdout + ended.stderr


def test_a_corpus_is_a_job_for_links_an_array_that_crawls_and_an_array_for_all_else(
    corpus: Path, slurm: SlurmCommands
) -> None:
    words = (
        "submit",
        "corpus",
        corpus,
        "RS_2013-08.json",
        *CONTACT,
        "--hours",
        12,
        "--workers",
        8,
        "--crawlers",
        3,
    )
    told = result(*words, "--cluster", "cluster.yaml")
    home = corpus.resolve()
    links, fetch, work = (slurm.script(job) for job in (812, 813, 814))
    assert f"outbound corpus add {home} {home.parent}/RS_2013-08.json --name 2013-08 --until links" in links
    crawl = f"outbound corpus work {home} --stage fetch --contact you@example.org --hours 12.0 --grace"
    assert crawl in fetch
    for line in ("--partition=dtn", "--array=0-2", "--dependency=afterany:812"):
        assert f"#SBATCH {line}\n" in fetch
    assert f'outbound corpus work {home} --stage cpu --processes "$SLURM_CPUS_PER_TASK" --grace' in work
    for line in ("--array=0-7", "--dependency=afterany:813", "--kill-on-invalid-dep=yes"):
        assert f"#SBATCH {line}\n" in work
    logs = Path(told["logs"])
    assert logs.is_relative_to(home / "logs")
    assert f"#SBATCH --output={logs}/%A_%a.log" in work
    assert (logs / "cpu.sbatch").read_text() == work
    assert told["jobs"]["814"] == {"name": "outbound-work-mine", "workers": 8, "after": ["813"]}
    (noted,) = of_directory(corpus)
    assert noted.command[:3] == ["outbound", "submit", "corpus"]
    (listed,) = (slurm.folder / "state/outbound/jobs.jsonl").read_text().splitlines()
    assert [job["id"] for job in json.loads(listed)["jobs"]] == ["812", "813", "814"]
    verified = result("corpus", "verify", corpus)
    assert verified == {"problems": [], "unknown": []}


def test_many_dumps_are_noted_by_a_job_and_read_by_an_array(corpus: Path, slurm: SlurmCommands) -> None:
    dumps = [Path(f"RS_2013-0{month}.json") for month in range(1, 4)]
    for dump in dumps:
        dump.write_text("{}\n")
    submitted = result("submit", "corpus", corpus, *dumps, *CONTACT, "--cluster", "cluster.yaml")
    home = corpus.resolve()
    first, links, fetch = (slurm.script(job) for job in (812, 813, 814))
    assert "RS_2013-03.json --name 2013-01 --until dumps" in first
    assert f'outbound corpus work {home} --stage links --processes "$SLURM_CPUS_PER_TASK" --grace' in links
    for line in ("--array=0-2", "--dependency=afterany:812"):
        assert f"#SBATCH {line}\n" in links
    assert "#SBATCH --dependency=afterany:813\n" in fetch
    scripts = {path.stem: path.read_text() for path in Path(submitted["logs"]).glob("*.sbatch")}
    assert (scripts["dumps"], scripts["links"]) == (first, links)
    assert sorted(scripts) == ["cpu", "dumps", "fetch", "links"]
    assert list(result("submit", "more", corpus, "--workers", 2, "--stage", "links")["jobs"]) == ["816"]
    assert "--stage links" in slurm.script(816)
    words = ("corpus", corpus, *dumps, *CONTACT, "--linkers", 1, "--dry-run")
    assert submit(*words)[1].count("#!/usr/bin/env bash") == 3


def test_a_dry_run_prints_the_scripts_and_needs_no_slurm(
    corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    words = ("corpus", corpus, "RS_2013-08.json", *CONTACT, "--dry-run")
    code, told = submit(*words)
    assert code == 0
    assert told.count("#!/usr/bin/env bash") == 3
    assert "--dependency=afterany:ID-OF-THE-JOB-BEFORE" in told
    assert not (corpus / "logs").exists()
    code, told = submit(*words, "--json")
    assert len(json.loads(told)["scripts"]) == 3


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (("corpus", "mine", "RS_2013-09.json", *CONTACT), "RS_2013-09.json"),
        (("corpus", "nowhere", "RS_2013-08.json", *CONTACT), "nowhere: no corpus here"),
        (("corpus", "mine", "RS_2013-08.json"), "contact"),
        (("corpus", "mine", "RS_2013-08.json", *CONTACT, "--name", "a/b"), "'a/b': an increment's name"),
        (("corpus", "mine", "RS_2013-08.json", "--crawl", "none"), "none: no such file"),
        (("select", "mine"), "an increment has to be finished first"),
        (("pack", "mine", "--tokenizer", "none", "-o", "tokens"), "names no build"),
        (("verify", "nowhere"), "nowhere: no corpus here"),
        (("more", "mine", "--workers", 2), "mine: no cpu workers were submitted for it yet"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_submitted(
    corpus: Path, slurm: SlurmCommands, words: tuple[object, ...], advice: str
) -> None:
    code, told = submit(*words)
    assert code in (1, 2)
    assert advice in told
    assert not (slurm.folder / "812.sbatch").exists()


def test_an_edited_recipe_with_a_mistake_is_refused(corpus: Path) -> None:
    recipe = (corpus / "recipe.yaml").read_text()
    (corpus / "recipe.yaml").write_text(recipe.replace("select:", "select:\n  min_wrods: 3", 1))
    code, told = submit("corpus", corpus, "RS_2013-08.json", *CONTACT)
    assert code == 1
    assert "min_wrods" in told


def test_a_profile_with_a_mistake_is_a_usage_error(corpus: Path) -> None:
    Path("cluster.yaml").write_text(PROFILE.replace("dtn", "'d t n'"))
    code, told = submit("corpus", corpus, "RS_2013-08.json", *CONTACT)
    assert code == 2
    assert "cluster.yaml: parts.fetch.partition is 'd t n'" in told


def test_nothing_is_submitted_by_halves(corpus: Path, slurm: SlurmCommands) -> None:
    slurm.refuse("--array")
    code, told = submit("corpus", corpus, "RS_2013-08.json", *CONTACT)
    assert code == 1
    assert "sbatch: no such" in told
    assert slurm.cancelled == ["812"]
    assert of_directory(corpus) == []


def test_a_job_that_cannot_be_noted_is_cancelled(
    corpus: Path, slurm: SlurmCommands, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[str] = []

    def full(submission: Submission) -> None:
        noted.extend(job.id for job in submission.jobs)
        if len(submission.jobs) > 1:
            raise OSError(errno.ENOSPC, "No space left on device", "submission.json")

    monkeypatch.setattr(submissions, "note", full)
    code, told = submit("corpus", corpus, "RS_2013-08.json", *CONTACT)
    assert code == 1
    assert "submission.json: No space left on device" in told
    assert noted == ["812", "812", "813"]
    assert slurm.cancelled == ["812 813"]


def test_a_folder_that_cannot_be_removed_does_not_hide_the_reason(corpus: Path, slurm: SlurmCommands) -> None:
    refusal = f"rm -r {corpus.resolve()}/logs; echo no such partition >&2; exit 1"
    (slurm.folder / "sbatch").write_text(f"#!/bin/sh\n{refusal}\n")
    code, told = submit("corpus", corpus, "RS_2013-08.json", *CONTACT)
    assert code == 1
    assert "sbatch: no such partition" in told


def test_what_is_in_the_queue_already_is_not_submitted_again(corpus: Path, slurm: SlurmCommands) -> None:
    words = ("corpus", corpus, "RS_2013-08.json", *CONTACT)
    assert submit(*words)[0] == 0
    slurm.queue("814_0|outbound-work-mine|PENDING|Dependency")
    code, told = submit(*words)
    assert code == 1
    assert "job 814 is in the queue already" in told
    assert "outbound submit more mine" in told
    slurm.queue()
    assert submit(*words)[0] == 0


def test_more_workers_ask_as_those_before_and_wait_for_what_they_wait_for(
    corpus: Path, slurm: SlurmCommands
) -> None:
    submit("corpus", corpus, "RS_2013-08.json", *CONTACT, "--workers", 2)
    slurm.queue("813_0|outbound-fetch-mine|RUNNING|None")
    assert list(result("submit", "more", corpus, "--workers", 3)["jobs"]) == ["815"]
    script = slurm.script(815)
    assert "#SBATCH --array=0-2\n" in script
    assert "#SBATCH --dependency=afterany:813\n" in script
    assert list(result("submit", "more", corpus, "--workers", 1, "--stage", "fetch")["jobs"]) == ["816"]
    script = slurm.script(816)
    assert "#SBATCH --partition=dtn\n" in script
    assert "--stage fetch --contact you@example.org" in script
    slurm.queue()  # the crawl has ended
    assert list(result("submit", "more", corpus, "--workers", 5)["jobs"]) == ["817"]
    assert "--dependency" not in slurm.script(817)
    Path("cluster.yaml").unlink()
    ended = run("submit", "more", corpus, "--workers", 5)
    assert ended.returncode == 2
    assert "cluster.yaml: is gone; give another profile with --cluster" in ended.stderr


@pytest.mark.slow(1)
def test_another_submission_lets_workers_try_again_what_was_given_up(slurm: SlurmCommands) -> None:
    corpus = open_work.begun(Path("begun").resolve())
    claims = open_work.claims(corpus, open_work.worker(corpus, "node7"))
    for number in (1, 2, 3):
        claims.take(open_work.PARTS[0], number)
        claims.fail(open_work.PARTS[0], number, "error", "no reason")
    assert len(under_way(corpus).given_up) == 1
    assert submit("select", "begun", "--dry-run")[0] == 0
    assert len(under_way(corpus).given_up) == 1
    slurm.refuse("--array")
    assert submit("select", "begun")[0] == 1
    assert len(under_way(corpus).given_up) == 1
    slurm.refuse("nothing of the kind")
    assert submit("select", "begun")[0] == 0
    assert under_way(corpus).given_up == []


@pytest.mark.slow(2)
def test_selection_packing_and_verification_are_jobs_of_their_own(slurm: SlurmCommands) -> None:
    packed_corpus.built(Path("full").resolve(), range(20))
    result("tokenizer", "train", "full", "-o", "bpe", "--vocab-size", 300)
    home = Path("full").resolve()
    for words in (
        ("select", "full", "--workers", 4),
        ("pack", "full", "--tokenizer", "bpe", "-o", "tokens", "--held-out", 0.1, "--workers", 3),
        ("verify", "full", "--tokens", "tokens"),
    ):
        code, told = submit(*words)
        assert code == 0, told
    assert "#SBATCH --array=0-3\n" in slurm.script(812)
    pack = f"outbound pack {home} --tokenizer {home.parent}/bpe --output {home.parent}/tokens --held-out 0.1"
    assert f'{pack} --join --workers "$SLURM_CPUS_PER_TASK" --grace' in slurm.script(813)
    assert "#SBATCH --array=0-2\n" in slurm.script(813)
    verify = slurm.script(814)
    once = f"--once {home}/logs/verify-"
    assert f"outbound corpus verify {home} --tokens {home.parent}/tokens {once}" in verify
    assert '.json --join --workers "$SLURM_CPUS_PER_TASK" --grace' in verify
    assert "#SBATCH --array=0-63\n" in verify
    assert [each.kind for each in of_directory(Path("tokens"))] == ["pack"]
    slurm.queue("813_0|outbound-pack-full|PENDING|Priority")
    code, told = submit("pack", "full", "--tokenizer", "bpe", "-o", "tokens")
    assert code == 1
    assert "tokens: job 813 is in the queue already; add workers with `outbound submit more tokens`" in told
    assert submit("pack", "full", "--tokenizer", "bpe", "-o", "other tokens")[0] == 0
    assert list(result("submit", "more", "tokens", "--workers", 5)["jobs"]) == ["816"]
    assert "#SBATCH --array=0-4\n" in slurm.script(816)
    assert f"{pack} --join " in slurm.script(816)
    assert [each.kind for each in submissions.current(Path("tokens"))] == ["pack", "more"]
    slurm.queue("814_0|outbound-verify-full|RUNNING|None")
    code, told = submit("verify", "full")
    assert code == 1
    assert "add workers with `outbound submit more full --stage verify`" in told
    words = ("submit", "more", "full", "--workers", 2, "--stage", "verify")
    assert list(result(*words)["jobs"]) == ["817"]
    assert once in slurm.script(817)
    assert list(result("submit", "more", "full", "--workers", 2)["jobs"]) == ["818"]
    assert "outbound corpus work" in slurm.script(818)
    kinds = [each.kind for each in submissions.current(Path("full"))]
    assert kinds == ["select", "verify", "more-verify", "more"]


def test_an_account_file_that_cannot_be_written_does_not_hide_the_jobs(
    corpus: Path, slurm: SlurmCommands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(Path("cluster.yaml").resolve()))
    code, told = submit("corpus", corpus, "RS_2013-08.json", *CONTACT)
    assert code == 0
    assert "job 814: outbound-work-mine, 64 workers, after 813" in told
    assert "jobs.jsonl: cannot be written" in told


def test_an_evaluation_is_an_array_that_asks_one_checkpoint(tmp_path: Path, slurm: SlurmCommands) -> None:
    evaluated.write_run(tmp_path / "run", step=700)
    Path("two_digit_addition.jsonl").write_text("{}\n")
    words = ("eval", "run", "--data", ".", "--tasks", "arithmetic_2da", "--shots", "0,few")
    assert submit(*words, "--workers", 3)[0] == 0
    script = slurm.script(812)
    home = tmp_path.resolve()
    given = f"--data {home} --tasks arithmetic_2da --shots 0,few --step 700 --join"
    assert f'outbound eval {home}/run {given} --nproc "$SLURM_CPUS_PER_TASK" --grace' in script
    assert "#SBATCH --array=0-2\n" in script
    (status,) = json.loads(run("status", "run/evaluations", "--json").stdout)["directories"]
    assert (status["kind"], status["jobs"][0]["kind"]) == ("evaluations", "eval")
    code, said = submit(*words[:-2], "--watch", "--dry-run")
    assert code == 0
    assert f"outbound eval {home}/run --data {home} --tasks arithmetic_2da --watch" in said


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--tasks", "arithmetic_2da"), "nothing that was requested can be evaluated"),
        (("--watch", "--step", 7), "leave out --step"),
    ],
)
def test_an_evaluation_that_cannot_begin_is_not_submitted(
    tmp_path: Path, slurm: SlurmCommands, words: tuple[object, ...], named: str
) -> None:
    evaluated.write_run(tmp_path / "run")
    code, said = submit("eval", "run", "--data", ".", *words)
    assert code
    assert named in said
