"""What a fine-tuning's YAML holds: the data, the task, the recipe, and each field with what it means."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, model_validator

from dataprep import yaml_settings
from dataprep.store import files
from dataprep.tokenizer.tokenizer import load
from model import PRESETS, GPTConfig
from pipeline.config.sections import Section, Wandb
from pipeline.errors import UsageError
from pipeline.finetune.examples import LABEL, TEXTS, several

Kind = Literal["classification", "entailment", "similarity", "multiple_choice"]
Target = Literal["classes", "regression", "ordinal"]
Metric = Literal["accuracy", "f1", "matthews", "pearson", "spearman"]

RECIPES: dict[str, dict[str, Any]] = {
    # Radford et al. 2018, section 4.1, and the released code (openai/finetune-transformer-lm, train.py).
    "gpt1": {
        "lr": 6.25e-5,
        "betas": (0.9, 0.999),
        "eps": 1e-8,
        "weight_decay": 0.01,
        "max_grad_norm": 1.0,
        "warmup": 0.002,
        "batch": 32,
        "epochs": 3,
        "lm_coef": 0.5,
        "dropout": 0.1,
        "evaluate_at": (1000, 2000, 4000),
    },
    # What Hugging Face's run_glue takes for GLUE.
    "glue": {
        "lr": 2e-5,
        "betas": (0.9, 0.999),
        "eps": 1e-8,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "warmup": 0.0,
        "batch": 32,
        "epochs": 3,
        "lm_coef": 0.0,
        "dropout": 0.1,
        "evaluate_at": (),
        "max_length": 128,
    },
}
"""Values that stand where the YAML gives none."""

_CLASSES = ("accuracy", "f1", "matthews")
_SECTIONS = "a section finetune (dir, init_from, kind, train, ...)"
_EXAMPLE = "finetune.lr=1e-4"


class Finetune(Section):
    """One task, learned once for each seed."""

    dir: Path
    """Everything is written under here; the same command resumes."""
    init_from: Path | None = None
    """A run, or a directory in Hugging Face's format, whose weights are the start. Absent: `model` and
    `tokenizer` describe a model that begins from scratch."""
    from_scratch: bool = False
    """Take the shape and the tokenizer of `init_from`, and random weights: the paper's ablation."""
    tokenizer: Path | None = None
    """Directory of the tokenizer, where there is no `init_from`."""

    kind: Kind
    """What an example is: a text; a premise and a hypothesis; two texts in any order; a question with
    answers."""
    target: Target = "classes"
    """What is predicted: a class; a number; or a grade of 0 to 5 as GPT-1 learned it, over six classes."""
    train: Path
    """Examples: a csv, tsv, jsonl or txt, also gzipped, or a folder of those."""
    dev: Path | None = None
    """Examples that are scored at the end of each epoch."""
    test: Path | None = None
    """Examples for `outbound eval`; no training looks at them."""
    columns: dict[str, int | str | list[int | str]] = Field(default={})
    """Columns by number from 0 or by name: `label`, and the texts: `text`; `premise`, `hypothesis`; `first`,
    `second`; or `context`, `answers`. None: `train` is a folder with a folder or a file for each label."""
    header: bool | None = None
    """Whether the first line names the columns; absent: it does when columns are given by name."""
    labels: list[str] | None = None
    """Classes in their order; absent: those of the training set, sorted."""
    leave_out: list[str] = Field(default=[])
    """Labels whose rows are no examples, such as SNLI's `-` where its writers did not agree."""
    task: str | None = None
    """A task of `papers.csv`, whose values in GPT-1's paper stand beside the scores."""
    specials: Literal["new", "eot"] = "new"
    """Start token: a new row of the embedding, as delimiter and extract are; or the end of text."""
    bias: bool = True
    """Whether the linear head has a bias; transformers' classes have none."""
    max_length: int | None = Field(default=None, ge=8)
    """Longest sequence in tokens; the model's context when absent."""
    too_long: Literal["cut", "refuse"] = "cut"
    """A longer text loses its end, and the number of such texts is reported; or it is an error."""

    recipe: Literal["gpt1", "glue"] = "gpt1"
    """The paper's schedule and optimizer, or today's; each number below has a default there."""
    lr: float = Field(gt=0)
    """The schedule's peak."""
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]]
    """Decay of Adam's averages of the gradient and of its square."""
    eps: float = Field(gt=0)
    """Added to the square root of the second average."""
    weight_decay: float = Field(ge=0)
    """Share of a matrix that an update takes off, times the rate."""
    max_grad_norm: float = Field(ge=0)
    """Norm to which the whole gradient is clipped; 0 never clips."""
    warmup: float = Field(ge=0, lt=1)
    """Share of the updates in which the rate rises."""
    batch: int = Field(ge=1)
    """Examples of an update, over all processes."""
    micro_batch: int | None = Field(default=None, ge=1)
    """Examples that a process computes at once: fewer take less memory, and the gradients are the same; None:
    its whole share of a batch."""
    epochs: int = Field(ge=1)
    """Passes over the training set."""
    lm_coef: float = Field(ge=0)
    """Weight of the language model's loss beside the task's; 0 does without."""
    dropout: float = Field(ge=0, lt=1)
    """Probability for embeddings, attention, residuals and the head's input alike."""
    evaluate_at: tuple[Annotated[int, Field(ge=1)], ...]
    """Updates after which the dev set is scored, too."""

    metrics: list[Metric] = Field(min_length=1)
    """What the dev and test sets are scored by."""
    select: Metric | Literal["none"] = "none"
    """The metric whose best dev score keeps its weights; none: the last weights."""
    seeds: list[int] = Field(default=[0], min_length=1)
    """Seeds of new weights, order and dropout; each is a training of its own."""
    checkpoint_every: int = Field(default=500, ge=1)
    """Updates between two checkpoints; the end of an epoch always has one."""

    @model_validator(mode="before")
    @classmethod
    def _fill_from_recipe(cls, raw: Any) -> Any:
        if not isinstance(raw, dict):
            return raw
        recipe = RECIPES.get(str(raw.get("recipe", "gpt1")), RECIPES["gpt1"])
        return {**recipe, **raw}

    @model_validator(mode="after")
    def _check(self) -> Finetune:
        if found := [*self._mistakes()]:
            raise ValueError("; ".join(found))
        return self

    def _mistakes(self) -> Iterator[str]:
        """What does not fit together."""
        wanted = [*TEXTS[self.kind], LABEL]
        if strange := [name for name in self.columns if name not in wanted]:
            yield f"columns.{strange[0]}: {yaml_settings.unknown_key(strange[0], wanted)}"
        for name, given in self.columns.items():
            numbers = [each for each in several(given) if isinstance(each, int)]
            if min(numbers, default=0) < 0:
                yield f"columns.{name}: {min(numbers)} is no column: the first is 0"
        missing = [name for name in wanted if name not in self.columns]
        if missing and (self.columns or self.kind != "classification"):
            yield f"columns lacks {', '.join(missing)}: {self.kind} has {', '.join(wanted)}"
        if self.kind == "multiple_choice" and self.target != "classes":
            yield f"target: {self.target} has no meaning for multiple_choice: use classes"
        if self.labels is not None and self.target != "classes":
            yield f"labels: the target {self.target} has no classes: leave labels out"
        if self.labels is not None and len(set(self.labels)) != len(self.labels):
            yield "labels: one is there twice: remove it"
        graded = self.target != "classes"
        if wrong := [metric for metric in self.metrics if (metric in _CLASSES) == graded]:
            fitting = "pearson, spearman" if graded else ", ".join(_CLASSES)
            yield f"metrics: {wrong[0]} does not measure the target {self.target}: use {fitting}"
        if self.select != "none" and self.select not in self.metrics:
            yield f"select: {self.select} is none of metrics: add it there"
        if self.select != "none" and self.dev is None:
            yield "select: without dev there is no score to select by: give dev"
        if len(set(self.seeds)) != len(self.seeds):
            yield "seeds: one is there twice: remove it"
        if self.init_from is not None and self.tokenizer is not None:
            yield "tokenizer: init_from brings its own: leave tokenizer out"


class FinetuneConfig(Section):
    """A whole fine-tuning."""

    finetune: Finetune
    model: GPTConfig | None = None
    """Shape of a model from scratch without `init_from`: GPTConfig's fields, or `preset`."""
    wandb: Wandb = Wandb()

    @model_validator(mode="before")
    @classmethod
    def _fill_from_preset(cls, raw: Any) -> Any:
        given = raw.get("model") if isinstance(raw, dict) else None
        if not isinstance(given, dict) or "preset" not in given:
            return raw
        fields = dict(given)
        if (preset := fields.pop("preset")) not in PRESETS:
            raise ValueError(f"model.preset: {preset!r} is unknown; choose from {', '.join(PRESETS)}")
        return {**raw, "model": {**vars(PRESETS[preset]), **fields}}

    @model_validator(mode="after")
    def _check(self) -> FinetuneConfig:
        begins = self.finetune.init_from is not None
        if begins and self.model is not None:
            raise ValueError("model: init_from brings its shape: leave model out")
        if not begins and (self.model is None or self.finetune.tokenizer is None):
            raise ValueError(
                "without finetune.init_from the model begins from scratch: give finetune.tokenizer and a "
                "section model (preset, or n_layer, n_head, ...)"
            )
        return self


def read(path: Path, overrides: list[str]) -> dict[str, Any]:
    """Read a YAML file and apply `a.b=c` overrides; nothing is checked. Raises UsageError."""
    raw = yaml_settings.read(path, _SECTIONS)
    for override in overrides:
        yaml_settings.override(raw, override, _EXAMPLE)
    return raw


def continues_pretraining(raw: dict[str, Any]) -> bool:
    """Whether a YAML has `kind: lm`, whose settings are those of `texts`."""
    section = raw.get("finetune")
    return isinstance(section, dict) and section.get("kind") == "lm"


def load_config(path: Path, overrides: list[str]) -> FinetuneConfig:
    """Read a YAML file and apply `a.b=c` overrides. Raises UsageError that lists every mistake."""
    raw = read(path, overrides)
    if continues_pretraining(raw):
        raise UsageError(
            f"{path}: finetune.kind: lm has no job of its own: run `outbound finetune` on one machine, which "
            "packs the texts; then `outbound submit train` takes DIR/train.yaml"
        )
    _count_ids(raw)
    return yaml_settings.checked(FinetuneConfig, raw, str(path))


def save_config(config: FinetuneConfig, path: Path) -> None:
    """Write settings with all defaults; `load_config` reads the same back."""
    files.replace(path, yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False).encode())


def _count_ids(raw: dict[str, Any]) -> None:
    """Let the tokenizer give `model.vocab_size`, in place, where the model begins from scratch."""
    section, model = raw.get("finetune"), raw.get("model")
    where = section.get("tokenizer") if isinstance(section, dict) else None
    if isinstance(model, dict) and "vocab_size" not in model and isinstance(where, str):
        model["vocab_size"] = load(Path(where)).vocab_size
