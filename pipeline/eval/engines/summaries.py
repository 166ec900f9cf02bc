"""Summaries of articles, as GPT-2 wrote them (Radford et al. 2019, section 3.6 and table 4).

"TL;DR:" follows the article; 100 tokens are drawn, each from the likeliest two; their first three sentences
are the summary. Beside it stand the article's first three sentences, and three random ones in their order.
The paper does not describe how an article that is longer than the context is cut: here it loses its last
sentences.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import xxhash

from pipeline.eval.documents import Asked, Document, Example
from pipeline.eval.language_model import LanguageModel
from pipeline.eval.requests import Writing
from pipeline.eval.text_metrics import rouge
from pipeline.inference.conditioning import HINT, SENTENCES, SUMMARY, summary
from pipeline.inference.fitting import fit_article
from pipeline.inference.sentences import sentences


def evaluate(asked: Asked, model: LanguageModel) -> list[Document]:
    """Summarise each article, and measure ROUGE of the model, of the first and of random sentences."""
    writing = Writing(**SUMMARY, seed=asked.seed)
    documents = []
    for example in asked.examples:
        article, gold = example.row["article"], example.row["highlights"]
        prompt = fit_article(model, article, HINT, writing.max_tokens)
        ours = summary(model.write(prompt, writing))
        theirs = sentences(article)
        values: dict[str, Sequence[float]] = {}
        for of, chosen in (
            ("", ours),
            ("_lead3", theirs[:SENTENCES]),
            ("_random3", _random(theirs, asked.seed, example)),
        ):
            scores = rouge("\n".join(chosen), gold)
            values |= {f"{name}{of}": [score, 1.0] for name, score in scores.items()}
        sample = {"prompt": prompt, "answer": "\n".join(ours), "gold": gold}
        documents.append(Document(example=example, values=values, sample=sample))
    return documents


def _random(theirs: list[str], seed: int, example: Example) -> list[str]:
    generator = random.Random(xxhash.xxh3_64_intdigest(f"{seed}\0{example.key}".encode()))
    chosen = generator.sample(range(len(theirs)), min(SENTENCES, len(theirs)))
    return [theirs[n] for n in sorted(chosen)]
