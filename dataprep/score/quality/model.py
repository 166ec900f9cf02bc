"""The file of a quality model: safetensors, so that loading a stranger's executes nothing.

Tensors: `weights` (BUCKETS,) float32, `bias` (1,) float64. One metadata entry, a JSON text, has the versions
of format and features, and how the model was measured.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import xxhash

from dataprep.corpus.recipe import Recipe
from dataprep.errors import DataError
from dataprep.score.quality.features import BUCKETS, VERSION, features, logits
from dataprep.score.quality.training import Trained
from dataprep.store.files import replace

FORMAT = "outbound-quality-1"


@dataclass(frozen=True)
class Model:
    """A loaded model; `digest` is the xxh3_128 of its file."""

    weights: npt.NDArray[np.float32]
    bias: float
    facts: dict[str, Any]
    digest: str

    def score(self, text: str) -> float:
        """How much a text is like the good side: a probability."""
        return float(1 / (1 + np.exp(-logits([features(text)], self.weights, self.bias)[0])))


def save(trained: Trained, path: Path) -> str:
    """Write a model; returns the file's hash."""
    from safetensors.numpy import save as serialised

    facts = {
        "format": FORMAT,
        "features": VERSION,
        "trained_on": {"good": trained.trained_on[0], "bad": trained.trained_on[1]},
        "held_out": {"good": trained.held_out[0], "bad": trained.held_out[1]},
        "accuracy": trained.accuracy,
        "auc": trained.auc,
    }
    tensors = {"weights": trained.weights, "bias": np.array([trained.bias])}
    # one entry only: safetensors writes several in an order of chance
    content = serialised(tensors, {"outbound": json.dumps(facts)})
    replace(path, content)
    return xxhash.xxh3_128_hexdigest(content)


@lru_cache(maxsize=1)
def load(path: Path) -> Model:
    """Read a model; raises DataError when it is none, damaged, or of another version."""
    from safetensors import SafetensorError, safe_open

    try:
        content = path.read_bytes()
        with safe_open(path, "numpy") as file:
            facts = json.loads(file.metadata()["outbound"])
            weights, bias = file.get_tensor("weights"), file.get_tensor("bias")
    except OSError as error:
        why = error.strerror or error
        raise DataError(
            f"{path}: cannot be read ({why}); name a model of `outbound corpus train-quality` by its path, "
            "or restore this one from a copy"
        ) from None
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: is no quality model ({error}); `outbound corpus train-quality` makes one"
        ) from None
    if (facts.get("format"), facts.get("features"), weights.shape) != (FORMAT, VERSION, (BUCKETS,)):
        raise DataError(
            f"{path}: a quality model of format {facts.get('format')}, features {facts.get('features')}, "
            f"{weights.shape} weights; expected {FORMAT}, {VERSION}, {(BUCKETS,)}: train it again"
        )
    digest = xxhash.xxh3_128_hexdigest(content)
    if path.name.startswith(_EMBEDDED) and path.name != _embedded_name(digest):
        raise DataError(f"{path}: the model has changed since the corpus was made; restore it from a copy")
    return Model(weights, float(bias[0]), facts, digest)


def embed(recipe: Recipe, beside: Path, root: Path) -> Recipe:
    """Copy the model that a recipe names into a corpus; returns the recipe that names the copy.

    beside: the directory to which the recipe's path is relative.
    """
    if recipe.collect.quality is None:
        return recipe
    source = beside / recipe.collect.quality
    name = _embedded_name(load(source).digest)
    root.mkdir(parents=True, exist_ok=True)
    replace(root / name, source.read_bytes())
    return recipe.model_copy(update={"collect": recipe.collect.model_copy(update={"quality": name})})


_EMBEDDED = "quality-"


def _embedded_name(digest: str) -> str:
    """The name of a model inside a corpus; it holds the hash."""
    return f"{_EMBEDDED}{digest[:12]}.safetensors"
