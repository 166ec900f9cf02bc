"""Translation, measured by BLEU over the whole file (sacrebleu, 13a; its signature is in every sample).

GPT-2 (Radford et al. 2019, section 3.7): pairs "english sentence = french sentence" stand before
"english sentence ="; greedy; the first sentence written counts. The paper does not print how many pairs.
GPT-3 (Brown et al. 2020, figures G.36 to G.41): the same form with K pairs; without any, "Q: What is the
French translation of SENTENCE A:"; 4 beams with length penalty 0.6 (section 2.4). A pair is a line.
"""

from __future__ import annotations

from pipeline.eval.documents import Asked, Document
from pipeline.eval.few_shot import Row, written
from pipeline.eval.language_model import LanguageModel
from pipeline.eval.text_metrics import bleu_signature, bleu_sums
from pipeline.inference import conditioning

LANGUAGES = {"en": "English", "fr": "French", "de": "German", "ro": "Romanian"}


def evaluate(asked: Asked, model: LanguageModel) -> list[Document]:
    """Translate (settings `source` and `target`, names in LANGUAGES).

    Settings: question: whether a sentence without solved pairs is put as a question. first_sentence: whether
    only the first sentence counts.
    """
    settings = asked.protocol.settings
    source, target = settings["source"], settings["target"]

    def question(row: Row) -> str:
        sentence = row["translation"][source]
        if settings.get("question") and not asked.shots:
            return f"Q: What is the {LANGUAGES[target]} translation of {sentence} A:"
        return conditioning.translation(sentence)

    documents = []
    for each in written(asked, model, question, lambda row: str(row["translation"][target]), delimiter="\n"):
        text = each.text
        if settings.get("first_sentence"):
            text = conditioning.first_sentence(text)
        gold = each.example.row["translation"][target]
        document = each.document(gold, bleu=bleu_sums(text, gold))
        document.sample["signature"] = bleu_signature()
        documents.append(document)
    return documents
