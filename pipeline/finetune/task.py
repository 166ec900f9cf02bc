"""All that a fine-tuning knows before its first update: the data, the shape of the model, its beginning."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import xxhash

from dataprep.store import files
from model import GPTConfig
from model.classifier import Classifier
from pipeline.errors import UsageError
from pipeline.finetune import initial
from pipeline.finetune.batches import updates_of
from pipeline.finetune.data import Encoded, read
from pipeline.finetune.initial import Initial
from pipeline.finetune.settings import Finetune, FinetuneConfig
from pipeline.finetune.targets import Targets, targets_of
from pipeline.finetune.transformations import Transformation, specials_after
from pipeline.monitor.run_files import read_json

START = "start.json"
FREE = tuple(f"finetune.{name}" for name in "dir seeds test checkpoint_every micro_batch".split())
"""Settings that may change when a training goes on."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task, the same for every seed."""

    config: FinetuneConfig
    initial: Initial
    model: GPTConfig
    """The shape, with the special tokens in its vocabulary and the settings' dropout."""
    transformation: Transformation
    targets: Targets
    train: Encoded
    dev: Encoded | None

    @staticmethod
    def of(config: FinetuneConfig) -> Task:
        """Open the model, and read and encode the data.

        Raises UsageError or RunError for settings or a model that do not fit, DataError for data.
        """
        settings = config.finetune
        found = read(settings.train, settings)
        targets = targets_of(settings, found)
        held_out = read(settings.dev, settings) if settings.dev else None
        begin = initial.find(config)
        eot = begin.tokenizer.eot if settings.specials == "eot" else None
        specials, vocab_size = specials_after(begin.config.vocab_size, eot)
        transformation = Transformation(
            settings.kind,
            begin.tokenizer,
            specials,
            min(begin.config.n_ctx, settings.max_length or begin.config.n_ctx),
            settings.too_long,
        )
        task = Task(
            config=config,
            initial=begin,
            model=replace(begin.config, vocab_size=vocab_size, dropout=settings.dropout),
            transformation=transformation,
            targets=targets,
            train=Encoded.of(found, transformation, targets),
            dev=Encoded.of(held_out, transformation, targets) if held_out else None,
        )
        if not task.updates:
            raise UsageError(
                f"{settings.train}: its {len(found)} examples are less than finetune.batch={settings.batch}, "
                f"and the recipe {settings.recipe} takes whole batches only: use a smaller one"
            )
        return task

    @property
    def settings(self) -> Finetune:
        """The settings of the task."""
        return self.config.finetune

    @property
    def keeps_rest(self) -> bool:
        """Whether an epoch ends with a smaller batch; the paper's code drops it."""
        return self.settings.recipe != "gpt1"

    @property
    def updates(self) -> int:
        """Updates of one seed."""
        settings = self.settings
        return updates_of(len(self.train), settings.batch, settings.epochs, self.keeps_rest)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the encoded data."""
        parts = [self.train.fingerprint, self.dev.fingerprint if self.dev else ""]
        return xxhash.xxh3_128_hexdigest(" ".join(parts).encode())

    def described(self) -> dict[str, Any]:
        """The settings as JSON; the model is the resolved one."""
        return {
            **self.config.model_dump(mode="json"),
            "model": vars(self.model) | {"attention": [*self.model.attention]},
        }

    def build(self) -> Classifier:
        """Make the model; its parameters are not initialised."""
        choice = self.settings.kind == "multiple_choice"
        return Classifier(self.model, self.targets.outputs, choice=choice, bias=self.settings.bias)

    def pin_start(self) -> None:
        """Note the checkpoint that all seeds begin with.

        Raises UsageError when `init_from` is a run that has trained on since the first seed began.
        """
        path = self.settings.dir / START
        files.write_once(path, json.dumps({"step": self.initial.step}).encode() + b"\n")
        first = read_json(path)["step"]
        if first != self.initial.step:
            raise UsageError(
                f"{self.settings.init_from}: is at step {self.initial.step} now, and earlier seeds of "
                f"{self.settings.dir} began with step {first}: use another finetune.dir, and for a run that "
                "still trains let finetune.init_from be an export of it (outbound export)"
            )

    def require_same(self, config: dict[str, Any], fingerprint: str, tokenizer: str) -> None:
        """Raise UsageError when a training that goes on was another one: other settings, or other data."""
        was = {**_flat(config), "the content of the data": fingerprint, "the tokenizer": tokenizer}
        now = {
            **_flat(self.described()),
            "the content of the data": self.fingerprint,
            "the tokenizer": self.initial.tokenizer.fingerprint,
        }
        changed = [
            f"{name}: was {was.get(name, 'absent')}, is {now.get(name, 'absent')}"
            for name in {**was, **now}
            if was.get(name) != now.get(name) and name not in FREE and not name.startswith("wandb.")
        ]
        if changed:
            raise UsageError(
                f"{self.settings.dir}: {'; '.join(changed)}: a fine-tuning does not change these once it has "
                "begun: use another finetune.dir"
            )


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    """{"finetune": {"lr": 1}} -> {"finetune.lr": 1}."""
    return {
        f"{section}.{name}": value
        for section, fields in config.items()
        for name, value in (fields or {}).items()
    }
