"""The model that is evaluated, without torch: its files, their hashes, its shape."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import xxhash

from dataprep.store.files import hash_file
from dataprep.tokenizer import gpt1
from dataprep.tokenizer.tokenizer import Tokenizer
from model import GPTConfig
from model.hf_directory import CONFIG, read_config, tensor_files
from pipeline.checkpoint import format as checkpoints
from pipeline.checkpoint.described import config_of, required, tokenizer_of, tokenizer_of_run
from pipeline.checkpoint.format import Checkpoint
from pipeline.costs.layers import parameters
from pipeline.errors import RunError, UsageError


@dataclass(frozen=True, kw_only=True)
class TrainedModel:
    """A checkpoint of a run, or a model in Hugging Face's format.

    where: the run or directory. checkpoint: its folder; None for Hugging Face's format. weights, tokenizer:
    hashes of their files. step, tokens, loss: where in its training it stands; None where that is unknown.
    """

    where: Path
    config: GPTConfig
    weights: str
    tokenizer: str
    checkpoint: Path | None = None
    step: int | None = None
    tokens: int | None = None
    loss: float | None = None

    @property
    def name(self) -> str:
        """Name of the folder of its evaluations, without the hash."""
        return "model" if self.step is None else f"step-{self.step:08d}"

    @property
    def parameters(self) -> tuple[int, int]:
        """How many parameters there are, and how many without embeddings; no padding."""
        whole, matrices = parameters(self.config), 1 if self.config.tied else 2
        embeddings = (matrices * self.config.vocab_size + self.config.n_ctx) * self.config.d_model
        return whole, whole - embeddings

    def load_tokenizer(self) -> Tokenizer:
        """Load the tokenizer. Raises RunError when there is none, or another than there was."""
        tokenizer = tokenizer_of(self.where)
        if tokenizer is None or tokenizer.fingerprint != self.tokenizer:
            raise RunError(f"{self.where}: its tokenizer has changed; run the command again")
        return tokenizer

    def hold(self, folder: Path) -> None:
        """Link the checkpoint into a folder, where no training can let go of it.

        Raises FileNotFoundError when that has just happened.
        """
        if self.checkpoint is None or (own := self.held_at(folder)).exists():
            return
        try:
            own.parent.mkdir(parents=True, exist_ok=True)
            beside = Path(tempfile.mkdtemp(prefix=".", dir=folder))  # a pid may be another machine's, too
            Checkpoint.open(self.checkpoint).link_into(beside)
            (beside / "checkpoints" / own.name).rename(own)
        except (RunError, OSError):
            if not self.checkpoint.exists():
                raise FileNotFoundError(self.checkpoint) from None
            if not own.exists():  # else another process was first
                raise

    def held_at(self, folder: Path) -> Path:
        """Where the checkpoint stands in a folder that holds it."""
        assert self.checkpoint
        return folder / "checkpoints" / self.checkpoint.name


def find(where: Path, step: int | None = None) -> TrainedModel:
    """The newest whole checkpoint of a run, or that of a step; or the model of a directory of HF's format.

    Raises RunError when there is no whole model or no tokenizer, UsageError when there is no such step.
    """
    if (where / CONFIG).is_file():
        if step is not None:
            raise UsageError(f"--step {step}: {where} is no run, so it has no steps")
        return _of_hf(where)
    checkpoint = _of_step(where, step) if step is not None else _newest(where)
    if checkpoint is None:
        raise RunError(f"{where}: no checkpoint yet: train first")
    return of_checkpoint(where, checkpoint)


def newest_step(where: Path) -> int | None:
    """The step of a run's newest checkpoint, none of whose files is read; None for another model.

    Raises RunError when there is no checkpoint.
    """
    if (where / CONFIG).is_file():
        return None
    path = next(checkpoints.newest(where), None)
    if path is None:
        raise RunError(f"{where}: no checkpoint yet: train first")
    return checkpoints.step_of(path)


def of_checkpoint(run: Path, checkpoint: Checkpoint) -> TrainedModel:
    """The model of a checkpoint.

    Raises RunError when the run has no tokenizer, or another than the one it learned with.
    """
    state = checkpoint.state
    found = required(tokenizer_of_run(run, checkpoint), run)
    return TrainedModel(
        where=run.resolve(),
        config=config_of(checkpoint),
        weights=_hash([f"{name} {facts['xxh3_128']}" for name, facts in sorted(checkpoint.files.items())]),
        tokenizer=found.fingerprint,
        checkpoint=checkpoint.path.resolve(),
        step=state.step,
        tokens=state.tokens,
        loss=state.val_loss,
    )


def no_context(tokenizer: Tokenizer) -> str:
    """What stands for an empty context, in words: the token that ends a document in pretraining.

    GPT-1's vocabulary has no end of text; there it is a newline (`dataprep.tokenizer.gpt1`).
    """
    return "newline" if tokenizer.files == gpt1.FILES else "end of text"


def _of_hf(where: Path) -> TrainedModel:
    try:
        config, files = read_config(where), [where / CONFIG, *tensor_files(where)]
    except ValueError as error:
        raise RunError(str(error)) from None
    return TrainedModel(
        where=where.resolve(),
        config=config,
        weights=_hash([f"{path.name} {hash_file(path)}" for path in files]),
        tokenizer=required(tokenizer_of(where), where).fingerprint,
    )


def _newest(run: Path) -> Checkpoint | None:
    """The newest whole checkpoint of a run that may train on, and let go of any while it is read."""
    while True:
        latest = next(checkpoints.newest(run), None)
        try:
            found = checkpoints.find(run)
        except (RunError, OSError):
            if latest is None or latest.exists():
                raise
            continue
        if found is None or found.path.exists():
            return found


def _of_step(run: Path, step: int) -> Checkpoint | None:
    paths = {path.name: path for path in checkpoints.newest(run)}
    path = paths.get(f"step-{step:08d}")
    if path is None:
        steps = ", ".join(str(int(name.removeprefix("step-"))) for name in reversed(paths)) or "none"
        raise UsageError(f"--step {step}: {run} has no checkpoint of that step (there are: {steps})")
    return checkpoints.first_whole([path])


def _hash(lines: list[str]) -> str:
    return xxhash.xxh3_128_hexdigest("\n".join(lines).encode())
