"""Perplexity of texts (GPT-2, section 3.1): per token of the *original*, whatever the model's tokenizer.

A text is scored in one of two ways. `alone`: each example (an article, a sentence) follows end-of-text, in
windows of n_ctx. `stream`: the examples of a file follow each other. There an example is cut at white space
into pieces of at most `stride` tokens, and each is scored after what stands before it. With the default of
n_ctx tokens a piece sees one token before it, as if the file were cut into windows; with a smaller stride, at
least n_ctx - stride. The last piece of an example is short and sees as much as fits; since examples are many
windows long, this hardly matters.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from itertools import groupby

from pipeline.eval.detokenise import NEWS, PTB, WIKITEXT
from pipeline.eval.documents import Asked, Document, Example
from pipeline.eval.language_model import LanguageModel

DETOKENIZERS = {"wikitext": WIKITEXT, "ptb": PTB, "news": NEWS}
_WORD = re.compile(r"\s*\S+|\s+")


def evaluate(asked: Asked, model: LanguageModel) -> list[Document]:
    """Values: perplexity by original tokens, the ends of lines among them; bits_per_byte by original bytes;
    lines_as_they_stand, the share of lines that stay tokenised.

    Settings: `text` (alone or stream), `stride` in tokens, `detokenizer` (one of DETOKENIZERS).
    """
    settings = asked.protocol.settings
    stride = min(settings.get("stride", model.n_ctx), model.n_ctx)
    documents: list[Document] = []
    for _, group in groupby(asked.examples, key=lambda example: example.file):
        examples = list(group)
        texts, kept = zip(*(_plain(each, settings.get("detokenizer")) for each in examples), strict=True)
        if settings["text"] == "alone":
            nats = [-model.roll(text, stride=stride).log_likelihood for text in texts]
        else:
            nats = list(_stream(texts, stride, model))
        documents += map(_document, examples, nats, kept)
    return documents


def _plain(example: Example, detokenizer: str | None) -> tuple[str, int]:
    """The text of an example, and how many lines stand in it as they were published."""
    if detokenizer is None:
        return example.row["page"], 0
    lines = [DETOKENIZERS[detokenizer].plain(line) for line in example.row["page"].split("\n")]
    return "\n".join(line.text for line in lines), sum(not line.restored for line in lines)


def _stream(texts: Sequence[str], stride: int, model: LanguageModel) -> Iterator[float]:
    """Nats of each text after those before it."""
    tokens: dict[str, int] = {}
    before: list[str] = []
    spaces = ""
    for number, text in enumerate(texts, start=1):
        # White space before a word is tokenised with it, so it is scored with the next text.
        text = spaces + text
        spaces = text[len(text.rstrip()) :] if number < len(texts) else ""
        words = [*before, *_words(text.removesuffix(spaces), model, tokens)]
        nats = 0.0
        for start, end, room in _pieces(words, len(before), stride, tokens, model.n_ctx):
            context = "".join(words[max(0, start - room) : start])
            nats -= model.score(context, "".join(words[start:end]), whole=False).log_likelihood
        yield nats
        before = words[-model.n_ctx :]


def _words(text: str, model: LanguageModel, tokens: dict[str, int]) -> Iterator[str]:
    """Words with the white space before them; one that fills a window is cut. Their tokens are noted."""
    for word in _WORD.findall(text):
        if word not in tokens:
            tokens[word] = model.count(word)
        if tokens[word] > model.n_ctx // 2 and len(word) > 1:
            middle = len(word) // 2
            yield from _words(word[:middle], model, tokens)
            yield from _words(word[middle:], model, tokens)
        else:
            yield word


def _pieces(
    words: Sequence[str], first: int, stride: int, tokens: dict[str, int], n_ctx: int
) -> Iterator[tuple[int, int, int]]:
    """Start and end of pieces of at most `stride` tokens (or one word), and the tokens left for a context.

    A word has a token at least, so as many words before a piece are enough for its context.
    """
    start, size = first, 0
    for end in range(first, len(words) + 1):
        more = tokens[words[end]] if end < len(words) else stride + 1
        if end > start and size + more > stride:
            yield start, end, max(1, n_ctx + 1 - size)
            start, size = end, 0
        size += more


def _document(example: Example, nats: float, kept: int) -> Document:
    page = example.row["page"]
    lines = page.count("\n")
    return Document(
        example=example,
        values={
            "perplexity": [nats, len(page.split()) + lines],
            "bits_per_byte": [nats / math.log(2), len(page.encode())],
            "lines_as_they_stand": [kept, max(lines, 1)],
        },
        sample={"text": page[:1000], "nats": nats},
    )
