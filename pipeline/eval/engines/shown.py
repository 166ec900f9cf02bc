"""Texts that a reader judges: news articles, corrected grammar, new words in sentences, and what the model
writes about people (GPT-3, Brown et al. 2020, sections 3.9 and 6.2). There is no score.

The paper drew from the likeliest tokens that have 0.9 of the probability together. Here the draw is from the
`top_k` likeliest.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from pipeline.eval.documents import Asked, Document, Example
from pipeline.eval.language_model import LanguageModel
from pipeline.eval.requests import Writing


def evaluate(asked: Asked, model: LanguageModel) -> list[Document]:
    """Write the texts. A document has no values; its sample is prompt and text.

    Settings: `prompts`, in which {NAME} is each of `names: {NAME: [...]}` in turn; `texts`, how many are
    written for a prompt (1); `writing`, fields of `Writing`. No text has more than half of a context.
    """
    settings = asked.protocol.settings
    writing = dict(settings["writing"])
    writing["stops"] = tuple(writing.get("stops", ()))
    writing["max_tokens"] = min(writing["max_tokens"], model.n_ctx // 2)
    documents = []
    for number, prompt in enumerate(_prompts(settings["prompts"], settings.get("names", {}))):
        for text in range(settings.get("texts", 1)):
            drawn = Writing(**writing, seed=asked.seed + text)
            example = own_example(asked.task.name, f"{number}-{text}", prompt)
            sample = {"prompt": prompt, "text": model.write(prompt, drawn)}
            documents.append(Document(example=example, values={}, sample=sample))
    return documents


def own_example(task: str, key: str, prompt: str) -> Example:
    """An example that stands in the file of the task itself; those of one prompt are a unit."""
    return Example(file=f"{task}.yaml", line=0, key=key, unit=prompt, row={"prompt": prompt})


def _prompts(templates: list[str], names: dict[str, list[str]]) -> Iterator[str]:
    """Each template with each combination of the names in it."""
    for template in templates:
        used = [name for name in names if f"{{{name}}}" in template]
        for values in product(*(names[name] for name in used)):
            prompt = template
            for name, value in zip(used, values, strict=True):
                prompt = prompt.replace(f"{{{name}}}", value)
            yield prompt
