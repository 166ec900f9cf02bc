"""LAMBADA: the last word of a passage, in the ways of GPT-2 and of GPT-3.

GPT-2 (Radford et al. 2019, section 3.3) scored the last *token* of the passage, given all before it, which is
part of a word where the word has several. GPT-3 (Brown et al. 2020, section 3.1.2) scored the whole word, and
wrote the passages of a few-shot prompt with a blank: `... ____. -> word`.
"""

from __future__ import annotations

from pipeline.eval import shots
from pipeline.eval.documents import Asked, Document, Example
from pipeline.eval.function_words import VERSION, begins_content_word
from pipeline.eval.language_model import LanguageModel
from pipeline.inference.fitting import fit

LIKELIEST = 256
"""Tokens among which the likeliest content word is looked for."""
BLANK = " ____. ->"


def evaluate(asked: Asked, model: LanguageModel) -> list[Document]:
    """Values: perplexity and acc; acc_filtered with `rule: last_token`.

    Settings: `rule` is last_token (GPT-2) or last_word (GPT-3); the latter with `instruction` and `delimiter`
    where there are shots.
    """
    rule = {"last_token": _last_token, "last_word": _last_word}[asked.protocol.settings["rule"]]
    return [rule(asked, example, model) for example in asked.examples]


def _parts(example: Example) -> tuple[str, str]:
    """The passage and its last word, which is all after the last space: newlines stay in words."""
    passage, _, word = example.row["text"].rpartition(" ")
    return passage, f" {word}"


def _last_token(asked: Asked, example: Example, model: LanguageModel) -> Document:
    passage, word = _parts(example)
    score = model.score(passage, word, last=1)
    # The filter leaves out words, and the last token of several begins none: there it changes nothing.
    filtered = score.is_greedy
    sample = {"prompt": passage, "gold": word, "log_likelihood": score.log_likelihood}
    if model.count(word) == 1:
        likely = model.likeliest(passage, LIKELIEST)
        chosen = next((token for token, _ in likely if begins_content_word(token)), "")
        filtered = chosen.strip() == model.as_read(word).strip()
        sample |= {"answer": chosen, "function_words": VERSION}
    return Document(
        example=example,
        values={
            "perplexity": [-score.log_likelihood, 1],
            "acc": [float(score.is_greedy), 1],
            "acc_filtered": [float(filtered), 1],
        },
        sample=sample,
    )


def _last_word(asked: Asked, example: Example, model: LanguageModel) -> Document:
    settings = asked.protocol.settings
    prompt, word = _parts(example)
    fitted = 0
    if asked.shots:
        solved = [f"{passage}{BLANK}{last}" for passage, last in map(_parts, shots.draw(asked, example))]
        prompt, fitted = fit(
            model,
            solved,
            prompt + BLANK,
            model.count(word),
            instruction=settings["instruction"],
            delimiter=settings["delimiter"],
        )
    score = model.score(prompt, word)
    return Document(
        example=example,
        values={"perplexity": [-score.log_likelihood, 1], "acc": [float(score.is_greedy), 1]},
        shown=fitted,
        sample={"prompt": prompt, "gold": word, "log_likelihood": score.log_likelihood},
    )
