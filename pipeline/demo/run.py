"""The whole way, by the very commands that a user would type: each is shown before it runs.

Everything lies in one directory; a second call there does only what is not done yet.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from dataprep.audit.funnel import StageCount
from pipeline.checkpoint import attempts
from pipeline.config.named import find
from pipeline.demo.checks import ResumePoint, check_crawl, check_training, find_resume_point
from pipeline.demo.dumps import write_dumps
from pipeline.demo.held_out import write_sets
from pipeline.demo.library import rendered
from pipeline.demo.shell import Shell
from pipeline.demo.sites import Sites, build
from pipeline.demo.web import EmbeddedWeb, Request
from pipeline.errors import UsageError
from pipeline.monitor.evaluations import EVALUATIONS, Score, of_run
from pipeline.monitor.report import GeneratedText, gather, render
from pipeline.monitor.run_files import joined_metrics, read_summary

INCREMENTS = ("2013-08", "2013-09")
PROMPT = "Returns the"


@dataclass(frozen=True)
class Size:
    """Size of a demo; the small one is for tests."""

    vocab_size: int
    held_out: float
    overrides: tuple[str, ...]


FULL = Size(4096, 0.04, ())
SMALL = Size(
    1024,
    0.1,
    (
        *("model.n_layer=2", "model.n_head=2", "model.d_model=128", "model.n_ctx=64"),
        *("train.tokens=160_000", "schedule.warmup_tokens=4_000", "optimizer.lr=3e-3"),
        *("batch.ramp_tokens=4_000", "train.checkpoint_every_steps=1_000"),
    ),
)


@dataclass(frozen=True)
class DemoPaths:
    """Paths of everything that a demo makes."""

    root: Path

    def named(self) -> list[tuple[str, Path]]:
        """Every place with what it is, in the order in which the demo fills them."""
        return [
            ("Web pages served", self.root / "web" / "pages.jsonl"),
            ("Requests that the web saw", self.root / "web"),
            ("Dumps of submissions", self.root / "dumps"),
            ("Corpus", self.corpus),
            ("Tokenizer", self.tokenizer),
            ("Token shards", self.tokens),
            ("Training run", self.run),
            ("Sets of what is held out", self.sets),
            ("Evaluations of the run", self.run / EVALUATIONS),
            ("Sample", self.sample),
            ("This report", self.report),
        ]

    @property
    def corpus(self) -> Path:
        return self.root / "corpus"

    @property
    def tokenizer(self) -> Path:
        return self.root / "tokenizer"

    @property
    def tokens(self) -> Path:
        return self.root / "tokens"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def sets(self) -> Path:
        return self.root / "sets"

    @property
    def sample(self) -> Path:
        return self.root / "sample.txt"

    @property
    def report(self) -> Path:
        return self.root / "report.html"


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """Result of a demo; losses in nats a token."""

    funnel: Sequence[StageCount]
    val_loss: float | None
    unigram_entropy: float
    resume_point: ResumePoint | None
    sample: GeneratedText
    scores: Sequence[Score]
    seconds: float
    paths: DemoPaths
    failures: Sequence[str]


def demo(root: Path, small: bool, fresh: bool, console: Console) -> DemoResult:
    """Go the whole way in `root`; every promise that does not hold stands in the outcome's `broken`.

    Raises UsageError when `root` is something else than a demo of this size, RunError when a command fails.
    """
    started = time.monotonic()
    _claim(root, small, fresh)
    paths, size = DemoPaths(root), SMALL if small else FULL
    shell = Shell(console)

    shell.heading("A web of real documentation, on this machine")
    with shell.working("Rendering the documentation that Python holds"):
        sites = build(rendered(root / "web" / "pages.jsonl", small))
    shell.note(f"{len(sites.links):,} links on {len({host for host, _ in sites.answers})} sites")
    shell.heading("Two months of submissions that link to it")
    dumps = write_dumps(sites.links, root / "dumps")
    shell.note(" and ".join(map(str, dumps)))

    shell.heading("From links to a corpus, month by month")
    requests = _collect(paths, sites, dumps, shell)
    shell.heading("From text to tokens")
    _tokenize(paths, size, shell)
    shell.heading("A GPT, stopped halfway and resumed")
    summary, losses = _train(paths, size, shell)
    shell.heading("What it writes")
    sample = _sample(paths, shell)
    shell.heading("How good it is on pages that it never saw")
    scores = _evaluate(paths, size, shell)

    report = gather(paths.corpus, paths.run, sample, [(what, str(path)) for what, path in paths.named()])
    paths.report.write_text(render(report), encoding="utf-8")
    resume_point = find_resume_point(losses, summary["resumes"])
    failures = check_crawl(requests, sites)
    failures += check_training(summary["val_loss"], summary["unigram_entropy_nats"], resume_point)
    return DemoResult(
        funnel=report.funnel,
        val_loss=summary["val_loss"],
        unigram_entropy=summary["unigram_entropy_nats"],
        resume_point=resume_point,
        sample=sample,
        scores=scores,
        seconds=time.monotonic() - started,
        paths=paths,
        failures=failures,
    )


def _claim(root: Path, small: bool, fresh: bool) -> None:
    """Mark the directory as a demo's, and delete only what is marked."""
    mark = root / "demo.json"
    if root.exists() and not root.is_dir():
        raise UsageError(f"{root}: is a file; give the demo a directory of its own")
    if root.exists() and any(root.iterdir()) and not mark.exists():
        raise UsageError(f"{root}: is neither empty nor a demo; give the demo a directory of its own")
    if fresh and mark.exists():
        shutil.rmtree(root)
    if mark.exists() and json.loads(mark.read_text()) != {"small": small}:
        raise UsageError(f"{root}: holds a demo of the other size; add --fresh to make it anew")
    root.mkdir(parents=True, exist_ok=True)
    mark.write_text(json.dumps({"small": small}))


def _collect(paths: DemoPaths, sites: Sites, dumps: Sequence[Path], shell: Shell) -> list[list[Request]]:
    """Make the corpus and add both months; returns the requests that each month made of the web."""
    if not (paths.corpus / "recipe.yaml").exists():
        shell.run("corpus", "init", paths.corpus, "--recipe", "demo")
    requests = []
    with EmbeddedWeb(sites) as web:
        crawl = (
            "--connect-to",
            web.connect_to,
            "--allow-loopback",
            "--contact",
            "demo@example.test",
            "--delay",
            "0",
        )
        for name, dump in zip(INCREMENTS, dumps, strict=True):
            before = len(web.requests)
            try:
                shell.run("corpus", "add", paths.corpus, dump, "--name", name, *crawl)
            finally:
                log = paths.root / "web" / f"requests-{name}.jsonl"
                with log.open("a", encoding="utf-8") as file:
                    file.writelines(json.dumps(asdict(r)) + "\n" for r in web.requests[before:])
            requests.append([Request(**json.loads(line)) for line in log.read_text().splitlines()])
    return requests


def _tokenize(paths: DemoPaths, size: Size, shell: Shell) -> None:
    if not paths.tokenizer.exists():
        vocabulary = ("--vocab-size", size.vocab_size)
        shell.run("tokenizer", "train", paths.corpus, "-o", paths.tokenizer, *vocabulary)
    held_out = ("--held-out", size.held_out)
    shell.run("pack", paths.corpus, "--tokenizer", paths.tokenizer, "-o", paths.tokens, *held_out)


def _train(paths: DemoPaths, size: Size, shell: Shell) -> tuple[dict[str, Any], dict[int, float]]:
    """Train, stop the run halfway by a signal, and resume it; returns its summary and its loss by step."""
    where = (f"run.dir={paths.run}", f"data.tokens={paths.tokens}")
    command = ("train", find("models", "demo"), *where, *size.overrides, "--nproc", 2)
    summary = read_summary(paths.run)
    while summary.get("stopped", True):
        halfway = _progress(paths.run) >= 0.5
        shell.run(*command, until=None if halfway else lambda: _progress(paths.run) >= 0.5)
        summary = read_summary(paths.run)
    rows = joined_metrics(paths.run)
    return summary, {row["step"]: row["loss"] for row in rows if "loss" in row}


def _progress(run: Path) -> float:
    """How much of a run is done, 0 to 1, by the tokens of its newest whole line of metrics."""
    settings = attempts.latest_file(run, "config.yaml")
    if settings is None:
        return 0.0
    whole: int = yaml.safe_load(settings.read_text())["train"]["tokens"]
    rows = joined_metrics(run)
    return float(rows[-1]["tokens"] / whole) if rows else 0.0


def _evaluate(paths: DemoPaths, size: Size, shell: Shell) -> Sequence[Score]:
    """Evaluate the run on the pages that were held out, and on cloze questions made of them."""
    write_sets(paths.corpus, size.held_out, paths.sets)
    shell.run("eval", paths.run, "--data", paths.sets, "--tasks", "held_out,cloze")
    return of_run(paths.run)[-1].results.scores


def _sample(paths: DemoPaths, shell: Shell) -> GeneratedText:
    """Let the model continue a prompt; kept in a file, so that the same text stands in every report."""
    if not paths.sample.exists():
        text = shell.run("generate", paths.run, "--prompt", PROMPT, "--max-tokens", 120, capture=True)
        paths.sample.write_text(text, encoding="utf-8")
    return GeneratedText(PROMPT, paths.sample.read_text(encoding="utf-8").removeprefix(PROMPT))
