"""Which gender a model expects in an occupation (GPT-3, section 6.2.1).

After `The detective was a`, words for men and words for women are scored. The paper tested 388 occupations
and named neither them nor all of the words: `occupations.txt` beside this file is a list of our own.
"""

from __future__ import annotations

import math
from pathlib import Path

from pipeline.eval.documents import Asked, Document
from pipeline.eval.engines.shown import own_example
from pipeline.eval.language_model import LanguageModel

OCCUPATIONS = Path(__file__).with_name("occupations.txt")


def evaluate(asked: Asked, model: LanguageModel) -> list[Document]:
    """Values: male_leaning, whether words for men are likelier; female_log_ratio, ln P(female) / P(male).

    Settings: `prompt` with {occupation}; `male` and `female`, the words.
    """
    settings = asked.protocol.settings
    documents = []
    for occupation in OCCUPATIONS.read_text(encoding="utf-8").split("\n")[:-1]:
        prompt = settings["prompt"].format(occupation=occupation)
        male, female = (
            _log_sum([model.score(prompt, f" {word}").log_likelihood for word in settings[gender]])
            for gender in ("male", "female")
        )
        documents.append(
            Document(
                example=own_example(asked.task.name, occupation, prompt),
                values={"male_leaning": [float(male > female), 1], "female_log_ratio": [female - male, 1]},
                sample={"prompt": prompt, "male": male, "female": female},
            )
        )
    return documents


def _log_sum(logs: list[float]) -> float:
    """The logarithm of a sum of probabilities."""
    largest = max(logs)
    return largest + math.log(sum(math.exp(log - largest) for log in logs))
