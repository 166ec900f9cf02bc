"""A conversation with a model at a terminal: lines are prompts, or change the settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from model.continuation import Continuation
from model.generate import Sampling
from pipeline.errors import UsageError
from pipeline.inference.conditioning import TASKS, Task, named
from pipeline.inference.generate import Writer
from pipeline.inference.settings import PRESETS, Settings
from pipeline.inference.streaming import Streaming
from pipeline.inference.texts import Stops

NUMBERS: dict[str, Callable[[str], Any]] = {
    "temperature": float,
    "top-k": int,
    "top-p": float,
    "beams": int,
    "length-penalty": float,
    "max-tokens": int,
    "seed": int,
}
"""The settings that are numbers, by the names of their commands."""

HELP = f"""\
A line is a prompt; an empty line begins a document. A line that ends with \\ goes on in the next one.
Ctrl-C ends the text, Ctrl-D the session.

/more             goes on with the last text
/temperature 0.7  and so {", ".join(f"/{name}" for name in [*NUMBERS][1:])}; without a number: the default
/stop TEXT        ends a text before TEXT, in which \\n is a new line; without TEXT: at none
/preset NAME      {", ".join(PRESETS)}
/task NAME        {", ".join(TASKS)}; without a name: none
/settings         shows what holds
//                begins a prompt with /"""

_CONTROLS = {code: "\ufffd" for code in (*range(32), *range(127, 160)) if chr(code) not in "\n\t"}


class Session:
    """The settings, and the text that was written last. `show` gets what is to be seen, piece by piece.

    A draw is shown as it is written. What a search or a task gives is shown once it is whole.
    """

    def __init__(
        self, writer: Writer, settings: Settings, task: Task | None, show: Callable[[str], None]
    ) -> None:
        self._writer, self._settings, self._task, self._show = writer, settings, task, show
        self._written = 0  # texts since the last change of the seed, which each add one to it
        self._last: tuple[Continuation, Streaming] | None = None

    def take(self, line: str, ended: Callable[[], bool]) -> None:
        """Do what a line asks for. The text ends where `ended` becomes true.

        Raises UsageError for a command that is none, or a value out of range; the settings stay.
        """
        if line.startswith("/") and not line.startswith("//"):
            name, _, value = line[1:].partition(" ")
            self._command(name, value, ended)
        else:
            self._write(line[1:] if line.startswith("//") else line, ended)

    def _command(self, name: str, value: str, ended: Callable[[], bool]) -> None:
        if name == "help":
            self._show(f"{HELP}\n")
        elif name == "more":
            self._go_on(ended)
        elif name == "settings":
            self._show(f"{self._settings}\n")
        elif name == "stop":
            stops = (*self._settings.stops, value.replace("\\n", "\n")) if value else ()
            self._settings = self._settings.changed({"stops": stops})
        elif name == "preset":
            self._settings = self._settings.preset(value.strip())
        elif name == "task":
            self._set_task(value.strip())
        elif name in NUMBERS:
            self._set(name, value.strip())
        else:
            raise UsageError(f"/{name}: no such command; /help lists them")

    def _set(self, name: str, value: str) -> None:
        field = name.replace("-", "_")
        try:
            number = NUMBERS[name](value) if value else DEFAULTS[field]
        except ValueError:
            raise UsageError(f"/{name} {value}: expected a number") from None
        self._settings = self._settings.changed({field: number})
        if name == "seed":
            self._written = 0

    def _set_task(self, name: str) -> None:
        self._task = named(name) if name else None
        if self._task:
            self._settings = self._settings.changed(self._task.settings)

    def _write(self, prompt: str, ended: Callable[[], bool]) -> None:
        self._last, number = None, self._written
        self._written += 1
        if self._task or self._settings.beams is not None:
            (found,) = self._writer.write([prompt], self._settings, self._task, first=number, ended=ended)
            self._show(f"{found['text'].translate(_CONTROLS)}\n")
            return
        stops = Stops(self._writer.tokenizer, self._settings.stops)
        self._last = self._writer.begin(prompt, self._settings.seed + number), Streaming(stops)
        self._go_on(ended)

    def _go_on(self, ended: Callable[[], bool]) -> None:
        """Draw up to max_tokens more; what stands at their end can go on."""
        how = self._settings.how
        if self._last is None or not isinstance(how, Sampling):
            raise UsageError("/more: there is no text that can go on")
        text, streaming = self._last
        for _ in range(self._settings.max_tokens):
            token = text.draw(how)
            if token == self._writer.tokenizer.eot:
                self._last = None
                break
            shown, stopped = streaming.add(token)
            self._show(shown.translate(_CONTROLS))
            if stopped:
                self._last = None
            if stopped or ended():
                break
        self._show(f"{streaming.pause().translate(_CONTROLS)}\n")


DEFAULTS = {field.name: field.default for field in fields(Settings)}
