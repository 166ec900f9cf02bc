"""`kind: lm`: a folder of texts becomes tokens, and a run continues the pretraining of a model on them.

    DIR/corpus/      the texts, every one a document; no filter but that of exact copies
    DIR/tokens/      what `outbound pack` makes of them with the tokenizer of `init_from`
    DIR/train.yaml   settings of the run, which `outbound train` reads
    DIR/run/         the run: of the same form as any other

Each step goes on where an earlier call stopped, and does nothing when it is done.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from dataprep import ingest, yaml_settings
from dataprep.audit.funnel import StageCount, funnel, save_funnel
from dataprep.corpus.directory import Corpus
from dataprep.corpus.recipe import Recipe, Select
from dataprep.errors import DataError
from dataprep.imports.inputs import ENDINGS, IMPORT, Import, expand
from dataprep.imports.rows import Fields
from dataprep.pack.manifest import Generation
from dataprep.pack.pack import WORTH_A_PROCESS, pack
from dataprep.pack.packing import Layout
from dataprep.store import checksummed_json, files, locks
from dataprep.store.pool import Progress
from pipeline.checkpoint.described import read_model_config, required, tokenizer_of, write_tokenizer
from pipeline.checkpoint.fitting import why_no_tensors
from pipeline.config.sections import Section, Wandb
from pipeline.errors import UsageError

KINDS = ("text", "jsonl", "parquet")
"""Kinds of files that `outbound corpus import` takes as documents."""
INCREMENT = "texts"
RECIPE = Recipe(name="texts", select=Select(near_duplicates=None))


class Texts(Section):
    """Continued pretraining of one model on texts of the user's."""

    kind: Literal["lm"]
    """These keys are for texts; the other kinds are tasks."""
    dir: Path
    """Everything is written under here; the same command resumes."""
    init_from: Path
    """A run, or a directory in Hugging Face's format, whose weights and tokenizer are the start."""
    train: Path
    """A folder of texts, one document a file, or a file of documents: txt, md, jsonl or parquet, also
    compressed. JSONL and Parquet have the text in the column `text`."""
    held_out: float = Field(default=0.05, gt=0, lt=1)
    """Share of the documents that measure and are not learned; a hash of its name decides on each."""

    lr: float = Field(gt=0)
    """Peak of the schedule, a cosine that ends at a tenth of it."""
    warmup: float = Field(default=0.002, ge=0, lt=1)
    """Share of the tokens over which the rate rises."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Share of a matrix that an update takes off, times the rate."""
    batch: int = Field(default=32, ge=1)
    """Sequences of an update, over all processes."""
    micro_batch: int = Field(default=1, ge=1)
    """Sequences of one forward pass of one process."""
    epochs: int = Field(default=3, ge=1)
    """Passes over the tokens."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Probability for embeddings, attention weights and residuals alike."""
    seed: int = 0
    """Seed of order and dropout."""
    checkpoint_every: int = Field(default=500, ge=1)
    """Updates between two checkpoints; the last update always has one."""

    @property
    def tokens(self) -> Path:
        return self.dir / "tokens"


class TextsConfig(Section):
    """A whole continued pretraining."""

    finetune: Texts
    wandb: Wandb = Wandb()


def load_config(raw: dict[str, Any], where: str) -> TextsConfig:
    """The settings that a YAML with `kind: lm` holds. Raises UsageError that lists every mistake."""
    return yaml_settings.checked(TextsConfig, raw, where)


@dataclass(frozen=True)
class Prepared:
    """Texts that are packed, and the settings of the run over them."""

    settings: Path
    """DIR/train.yaml."""
    counts: list[StageCount]
    """What became of the documents, step by step."""


def prepare(config: TextsConfig, workers: int, progress: Progress) -> Prepared:
    """Pack the texts with the tokenizer of the start, and write the settings of the run.

    Raises UsageError or RunError for a start without weights or tokenizer, DataError for texts that hold no
    document, too few, or others than at the first call.
    """
    settings = config.finetune
    model = read_model_config(settings.init_from)
    if reason := why_no_tensors(settings.init_from):
        raise UsageError(f"finetune.init_from: {reason}")
    required(tokenizer_of(settings.init_from), settings.init_from)
    kind = _kind_of(settings.train)
    generation, counts = _packed(settings, kind, workers, progress)
    raw = _run(config, generation, model.n_ctx, model.vocab_size)
    path = settings.dir / "train.yaml"
    files.replace(path, yaml.safe_dump(raw, sort_keys=False).encode())
    return Prepared(path, counts)


def _kind_of(train: Path) -> str:
    """The kind of the files that hold the documents. Raises UsageError unless there is just one."""
    if not train.exists():
        raise UsageError(f"finetune.train: {train}: no such file or folder")
    names = [path.name.lower() for path in (train.rglob("[!.]*") if train.is_dir() else [train])]
    found = [kind for kind in KINDS if any(name.endswith(ENDINGS[kind]) for name in names)]
    if len(found) > 1:
        raise UsageError(
            f"finetune.train: {train} holds {' and '.join(found)} files: give a folder with one kind of them"
        )
    if not found:
        raise UsageError(
            f"finetune.train: {train} holds no text: give a txt, md, jsonl or parquet file, or a folder of "
            "such files"
        )
    return found[0]


def _packed(
    settings: Texts, kind: str, workers: int, progress: Progress
) -> tuple[Generation, list[StageCount]]:
    """Import and pack the texts, or find them done."""
    root, tokens = settings.dir / "corpus", settings.tokens
    tokens.mkdir(parents=True, exist_ok=True)
    size = sum(each.bytes for each in expand([settings.train], kind))
    workers = max(1, min(workers, size // WORTH_A_PROCESS))
    corpus = Corpus.create(root, RECIPE)
    _refuse_others(corpus, settings.train, kind)
    with locks.shared(root):
        ingest.bring(
            corpus,
            INCREMENT,
            kind=kind,
            paths=[settings.train],
            fields=Fields(),
            archive=None,
            workers=workers,
            progress=progress,
        )
    tokenizer = settings.dir / "tokenizer"
    write_tokenizer(settings.init_from, tokenizer)
    layout = Layout(held_out=settings.held_out)
    with locks.reading(root), locks.alone(tokens):
        generation = pack(corpus, corpus.current_build(), tokenizer, tokens, layout, workers, progress)
    counts = funnel(root)
    save_funnel(tokens, generation.number, counts)
    return generation, counts


def _refuse_others(corpus: Corpus, train: Path, kind: str) -> None:
    """Raise DataError when the corpus was made of other files than these, or of what they held before."""
    for path in (increment.path / IMPORT for increment in corpus.increments()):
        then = checksummed_json.load(path, Import).files if path.exists() else {}
        now = {each.name: files.hash_file(each.path) for each in expand([train], kind)}
        if changed := sorted(dict(then.items() ^ now.items())):
            raise DataError(
                f"{train}: is not what {corpus.root} was made of ({', '.join(changed[:5])}): "
                "restore the files, or give another finetune.dir"
            )


def _run(config: TextsConfig, generation: Generation, n_ctx: int, vocab_size: int) -> dict[str, Any]:
    """The settings of the run, as a YAML for `outbound train`. Raises DataError for too few tokens."""
    settings, splits = config.finetune, generation.splits
    learned, held_out = (splits[name].sequences(n_ctx) for name in ("train", "val"))
    for name, what, sequences in (("train", "training", learned), ("val", "held-out", held_out)):
        if not sequences:
            raise DataError(
                f"{settings.train}: its {splits[name].documents} {what} documents have "
                f"{splits[name].tokens} tokens, less than one sequence of {n_ctx}: give more documents, "
                "or change finetune.held_out along with finetune.dir"
            )
    if learned < settings.batch:
        raise UsageError(
            f"finetune.batch: {settings.batch} is more than the {learned} sequences of an epoch: lower it"
        )
    # Every evaluation takes whole multiples, too, and few texts hold out less than a batch.
    multiple = max(n for n in range(1, settings.batch + 1) if settings.batch % n == 0 and n <= held_out)
    if multiple % settings.micro_batch:
        raise UsageError(
            f"finetune.micro_batch: {settings.micro_batch} does not divide {multiple}, the largest divisor "
            f"of finetune.batch that the {held_out} held-out sequences fill: lower it, or hold out more"
        )
    tokens = settings.epochs * learned * n_ctx
    return {
        "run": {
            "dir": str(settings.dir / "run"),
            "seed": settings.seed,
            "init_from": str(settings.init_from),
        },
        "data": {"tokens": str(settings.tokens), "generation": generation.number},
        "model": {"vocab_size": vocab_size, "dropout": settings.dropout},
        "optimizer": {"lr": settings.lr, "weight_decay": settings.weight_decay},
        "schedule": {"warmup_tokens": int(settings.warmup * tokens)},
        "batch": {
            "global_batch_size": settings.batch,
            "micro_batch_size": settings.micro_batch,
            "batch_size_multiple": multiple,
        },
        "train": {
            "tokens": tokens,
            "eval_every_steps": learned // settings.batch,
            "eval_sequences": held_out // multiple * multiple,
            "checkpoint_every_steps": settings.checkpoint_every,
        },
        "wandb": config.wandb.model_dump(mode="json"),
    }
