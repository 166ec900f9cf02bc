"""`outbound generate`: text from a trained model, for a person or for a program."""

from __future__ import annotations

import json as jsonlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.app import Json, Trained, app, console, emit
from pipeline.errors import RunError, UsageError
from pipeline.inference.conditioning import TASKS, named
from pipeline.inference.settings import PRESETS, Settings

if TYPE_CHECKING:
    from pipeline.inference.conditioning import Task
    from pipeline.inference.generate import Writer

GIVEN, DRAWN, SEARCHED, ENDED = "What is continued", "How it is drawn", "How it is searched", "Where it ends"


def _listed(named: dict[str, Any]) -> str:
    return ". ".join(f"{name}: {each.about}" for name, each in named.items())


@app.command()
def generate(
    run: Trained,
    prompt: Annotated[
        list[str] | None,
        typer.Option(
            help="The text to continue; none begins a document. May be given several times.",
            rich_help_panel=GIVEN,
        ),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A prompt a line, or a .jsonl file with a field `prompt`; - is standard input. Each text "
            "becomes a JSON line on stdout, in the order of the prompts, as it is done.",
            rich_help_panel=GIVEN,
        ),
    ] = None,
    interactive: Annotated[
        bool,
        typer.Option(
            "--interactive",
            help="On a terminal: type prompts, and read the texts as they are written; /help lists what else "
            "can be typed. Elsewhere: a prompt a line on stdin, at once a JSON line on stdout.",
            rich_help_panel=GIVEN,
        ),
    ] = False,
    task: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"Put each prompt in the form of a task, and cut the answer, as GPT-2's paper did. "
            f"{_listed(TASKS)}.",
            rich_help_panel=GIVEN,
        ),
    ] = None,
    batch: Annotated[
        int, typer.Option(min=1, help="With --prompts: write N texts at once.", rich_help_panel=GIVEN)
    ] = 16,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help=f"How the papers drew their texts; options beside it count before it. {_listed(PRESETS)}.",
            rich_help_panel=DRAWN,
        ),
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(min=0, help="0 takes the likeliest token.", show_default="0.8", rich_help_panel=DRAWN),
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(min=1, help="Draw among the K likeliest only.", rich_help_panel=DRAWN)
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(help="Draw among the likeliest that sum to P only.", rich_help_panel=DRAWN),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(help="The same seed draws the same text; text i has SEED + i.", rich_help_panel=DRAWN),
    ] = 0,
    beams: Annotated[
        int | None,
        typer.Option(
            min=1, help="Draw nothing: search the likeliest text with N beams.", rich_help_panel=SEARCHED
        ),
    ] = None,
    length_penalty: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="With --beams: 0 for none; above, longer texts score better.",
            show_default="0.6",
            rich_help_panel=SEARCHED,
        ),
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, show_default="100, or the task's", rich_help_panel=ENDED)
    ] = None,
    stop: Annotated[
        list[str] | None,
        typer.Option(
            help="End a text before this string. May be given several times.", rich_help_panel=ENDED
        ),
    ] = None,
    log_wandb: Annotated[
        bool,
        typer.Option(
            "--log-wandb", help="Keep the texts in the run, and send them to Weights & Biases at its step."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Write text with a run's newest checkpoint, on a GPU where there is one."""
    if sum((bool(prompt), prompts is not None, interactive)) > 1:
        raise UsageError("give one of --prompt, --prompts and --interactive")
    if log_wandb and interactive:
        raise UsageError("--log-wandb logs the texts of --prompt or --prompts; leave out --interactive")
    if log_wandb and not (run / "attempts").is_dir():
        raise UsageError(f"{run}: is no training run, so that its texts have no step: leave out --log-wandb")
    about = named(task) if task else None
    settings = Settings(**about.settings) if about else Settings()
    settings = settings.preset(preset) if preset else settings
    given = {
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "beams": beams,
        "length_penalty": length_penalty,
        "max_tokens": max_tokens,
        "stops": tuple(stop) if stop else None,
        "seed": seed,
    }
    settings = settings.changed({name: value for name, value in given.items() if value is not None})
    if interactive and sys.stdin.isatty() and sys.stdout.isatty():
        _talk(run, settings, about)
        return
    from pipeline.inference.generate import Writer

    wanted = _prompts(prompts or Path("-")) if interactive or prompts else None
    writer = Writer(run)
    if wanted is not None:
        texts = _write_lines(writer, wanted, settings, about, 1 if interactive else batch)
    else:
        texts = writer.write(prompt or [""], settings, about)
        shown = [("" if about else each["prompt"]) + each["text"] for each in texts]
        emit({"run": str(run), "step": writer.step, "texts": texts}, json, "\n\n".join(shown))
    if log_wandb and texts:
        _log(run, writer.step or 0, f"{task}: {settings}" if task else str(settings), texts)


def _prompts(source: Path) -> Iterator[str]:
    """The prompts of a file, which is read at once, or of standard input, as they come."""
    from pipeline.inference.prompts import of_file, of_lines

    return of_lines(sys.stdin.buffer, "standard input") if str(source) == "-" else iter(of_file(source))


def _write_lines(
    writer: Writer, wanted: Iterator[str], settings: Settings, task: Task | None, batch: int
) -> list[dict[str, Any]]:
    """Write a JSON line for each prompt, `batch` at once; return all of them."""
    written: list[dict[str, Any]] = []
    while some := [*islice(wanted, batch)]:
        rows = writer.write(some, settings, task, first=len(written))
        _show("".join(jsonlib.dumps(row) + "\n" for row in rows))
        written += rows
    return written


def _log(run: Path, step: int, how: str, texts: list[dict[str, Any]]) -> None:
    """Keep texts in the run, and send them to Weights & Biases with what else it lacks of the run."""
    from pipeline.monitor.generated import keep
    from pipeline.monitor.wandb_sync import WandbSync

    path = keep(run, step, how, texts)
    sync = WandbSync(run)
    try:
        sync.update()
    except RunError as error:
        raise RunError(
            f"{error}; the texts are in {path}, and `outbound wandb-sync {run}` sends them"
        ) from None
    report = sync.report()
    console.print(f"{path}: {report['url'] if report else ''}", highlight=False, soft_wrap=True)


def _talk(run: Path, settings: Settings, task: Task | None) -> None:
    """Continue what is typed at the terminal, until Ctrl-D."""
    from pipeline.inference.generate import Writer
    from pipeline.inference.session import Session

    with suppress(ImportError):
        import readline  # noqa: F401 (lets lines be edited and found again)
    writer = Writer(run)
    step = "" if writer.step is None else f" of step {writer.step:,}"
    _show(f"{run}{step}: type a prompt, or /help. Ctrl-C ends a text, Ctrl-D the session.\n")
    session, keys = Session(writer, settings, task, _show), _CtrlC()
    while True:
        try:
            session.take(keys.interruptible(_line), keys.pressed.is_set)
        except UsageError as error:
            _show(f"{error}\n")
        except KeyboardInterrupt:
            _show("\n")
        except EOFError:
            _show("\n")
            return


def _line() -> str:
    """What is typed: a line, or several of which all but the last end with a backslash."""
    line = input("> ")
    while line.endswith("\\"):
        line = f"{line[:-1]}\n{input('| ')}"
    return line


def _show(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


class _CtrlC:
    """From now on Ctrl-C raises KeyboardInterrupt where a line is read; elsewhere it sets `pressed`."""

    def __init__(self) -> None:
        self.pressed = threading.Event()
        self._reading = False
        signal.signal(signal.SIGINT, self._heed)

    def interruptible(self, read: Callable[[], str]) -> str:
        self.pressed.clear()
        self._reading = True
        try:
            return read()
        finally:
            self._reading = False

    def _heed(self, *_: object) -> None:
        if self._reading:  # also the next time: input() swallows what is raised while it flushes
            raise KeyboardInterrupt
        self.pressed.set()
