"""Ask everything about each example."""

from __future__ import annotations

from pipeline.eval.documents import Asked, Document
from pipeline.eval.language_model import LanguageModel
from pipeline.eval.requests import Writing
from pipeline.eval.shots import draw
from pipeline.inference.fitting import fit

WRITING = Writing(max_tokens=4, stops=(".",))


def evaluate(asked: Asked, model: LanguageModel) -> list[Document]:
    documents = []
    for example in asked.examples:
        row = example.row
        solved = [
            f"{shot.row['ctx']} {shot.row['endings'][shot.row['label']]}" for shot in draw(asked, example)
        ]
        context, shown = fit(model, solved, row["ctx"], 8)
        scores = [model.score(context, f" {ending}") for ending in row["endings"]]
        best = max(range(len(scores)), key=lambda choice: scores[choice].log_likelihood)
        text = model.roll(row["ctx"])
        sample = {
            "scores": [score.log_likelihood for score in scores],
            "written": model.write(context, WRITING),
            "likeliest": model.likeliest(context, 2),
        }
        values = {
            "acc": [float(best == row["label"]), 1.0],
            "perplexity": [-text.log_likelihood, float(text.tokens)],
        }
        documents.append(Document(example=example, values=values, shown=shown, sample=sample))
    return documents
