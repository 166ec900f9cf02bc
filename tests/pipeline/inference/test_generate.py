"""`outbound generate`: at a terminal, and for programs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.inference.generate import Writer, generate_texts
from pipeline.inference.settings import Settings
from support import cli, terminal

PROMPTS = ["The dogs", "Q: Who barks?\nA:", "fox", "It jumps over the lazy dogs, and the quick", ""]


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in PROMPTS))
    return path


@pytest.mark.parametrize("how", [(), ("--beams", 2), ("--preset", "gpt2")], ids=str)
def test_prompts_of_a_file_get_a_line_each_as_if_written_together(
    trained: Path, prompts: Path, how: tuple[object, ...]
) -> None:
    words = ("generate", trained, "--max-tokens", 8, "--seed", 3, *how)
    together = cli.result(*words, *[word for prompt in PROMPTS for word in ("--prompt", prompt)])["texts"]
    for batch in (1, 2, 16):
        ended = cli.run(*words, "--prompts", prompts, "--batch", batch)
        assert ended.returncode == 0, ended.stderr
        assert [json.loads(line) for line in ended.stdout.splitlines()] == together


def test_an_answer_is_cut_as_its_task_does(trained: Path) -> None:
    words = ("generate", trained, "--prompt", "It jumps. The dogs bark.", "--task", "summarize")
    (found,) = cli.result(*words, "--max-tokens", 9, "--seed", 4)["texts"]
    free = generate_texts(
        trained,
        ["It jumps. The dogs bark.\nTL;DR:"],
        Settings(temperature=1.0, top_k=2, max_tokens=9, seed=4),
    )
    assert found["prompt"] == "It jumps. The dogs bark."
    assert found["text"] == free["texts"][0]["text"].strip()
    assert cli.run(*words[:2], "--task", "nonsense").returncode == 2


def test_what_contradicts_itself_is_refused(trained: Path, prompts: Path) -> None:
    for words, message in (
        (("--prompt", "a", "--prompts", prompts), "give one of --prompt, --prompts and --interactive"),
        (("--beams", 2, "--top-k", 3), "give one of them"),
    ):
        ended = cli.run("generate", trained, *words)
        assert (ended.returncode, message in ended.stderr) == (2, True), ended.stderr


@pytest.mark.slow(5)
def test_without_a_terminal_each_line_is_answered_at_once(trained: Path) -> None:
    command = [sys.executable, "-m", "pipeline.cli.main", "generate", str(trained), "--interactive"]
    with subprocess.Popen(
        [*command, "--max-tokens", "5"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        found = []
        for prompt in ("The", "fox"):
            program.stdin.write(f"{prompt}\n".encode())
            program.stdin.flush()
            found.append(json.loads(program.stdout.readline()))
        program.stdin.close()
        assert program.wait() == 0
    assert found == generate_texts(trained, ["The", "fox"], Settings(max_tokens=5))["texts"]


def plain(text: str) -> str:
    """What of a text surely shows: a model with random weights writes all bytes."""
    return re.sub(r"[^\n -~]", "", text)


@pytest.mark.slow(6)
def test_a_session_at_a_terminal(trained: Path) -> None:
    writer = Writer(trained)

    def written(prompt: str, settings: Settings) -> str:
        return plain(writer.write([prompt], settings)[0]["text"])

    with terminal.outbound("generate", trained, "--interactive", "--max-tokens", 9) as screen:

        def answer(line: str) -> str:
            """What is shown between a line that is typed and the next question."""
            screen.type(f"{line}\n".encode())
            screen.read_until(f"{line}\n")
            return plain(screen.read_until("\n> ").removesuffix("\n> "))

        assert "type a prompt, or /help" in screen.read_until("> ")
        assert answer("The dogs") == written("The dogs", Settings(max_tokens=9))
        assert answer("fox") == written("fox", Settings(max_tokens=9, seed=1)), "each text has its own seed"
        assert answer("/top-k many") == "/top-k many: expected a number"
        screen.type(b"/top-k 5\n/seed 7\n/max-tokens 4\n")
        whole = written("fox", Settings(max_tokens=8, top_k=5, seed=7))
        assert answer("fox") + answer("/more") == whole, "what was computed is kept"
        screen.type(b"/max-tokens 1000000\nThe\n")
        screen.read_until("The\n")
        screen.wait_for_more(100)
        screen.interrupt()
        screen.type(b"/max-tok")
        screen.read_until("/max-tok")  # readline waits for keys that a Ctrl-C has thrown away unread
        screen.interrupt()
        assert answer("/settings") == "temperature 0.8, top-k 5, max-tokens 1000000, seed 7"
        assert screen.leave() == 0
