"""Multiple choice as GPT-3 asks it (Brown et al. 2020, section 2.4 and appendix G).

Each choice is scored as the continuation of a context of K solved examples and the question, and the best
score is the answer; of several best ones, the first. The words come from a task file of lm-eval, or from the
task's own fields where the paper puts them otherwise.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from pipeline.eval import harness, shots
from pipeline.eval.calibration import first_best, ties_and_calibration
from pipeline.eval.documents import Asked, Document, Example
from pipeline.eval.language_model import LanguageModel
from pipeline.eval.lm_eval_metrics import confusion
from pipeline.eval.text_metrics import exact, f1
from pipeline.inference.fitting import fit


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a task is asked: `settings` of its protocol.

    template: lm-eval's task file. fields: fields of the file that are replaced, or all of them.

    rule: how a choice is scored. `sum`: by its log-likelihood. `per_token`: by that divided by its tokens.
    `per_answer`: by that less the same after `unconditional` alone, so that an answer that is likely anywhere
    gains nothing. `partial`: the choices stand in the contexts, and what follows all of them is scored (Trinh
    and Le 2018).

    same_shots: the same solved examples before all questions. instruction: the text before them. solved: the
    form of a solved example, where it is not a question and its answer. drawn: a field that is true in the
    training examples which may be shown; without it, all may.
    """

    template: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)
    rule: Literal["sum", "per_token", "per_answer", "partial"] = "per_token"
    unconditional: str = "Answer:"
    same_shots: bool = False
    instruction: str = ""
    solved: str | None = None
    drawn: str | None = None


def evaluate(asked: Asked, model: LanguageModel) -> list[Document]:
    """Ask a task and measure `acc`, `ties`, `ece`, `f1_binary` (of the second choice), `f1_macro` (of all).

    Where the rows have a `group`, `em` is whether all documents of it are right; where they have `entities`
    and `answers`, `em` and `f1` compare the words of the named entity with the answers.
    """
    settings = Settings(**asked.protocol.settings)
    if settings.drawn:
        asked = replace(asked, training=[each for each in asked.training if each.row[settings.drawn]])
    questions = harness.render(settings.template, asked.examples, settings.fields)
    drawn = [shots.draw(asked, None if settings.same_shots else example) for example in asked.examples]
    solved = _solved(settings, drawn)
    documents = []
    for example, question, others in zip(asked.examples, questions, drawn, strict=True):
        prompts, shown = _prompts(settings, model, question, [solved[id(other)] for other in others])
        scores = [
            _score(settings, model, prompt, continuation)
            for prompt, continuation in zip(prompts, question.continuations, strict=True)
        ]
        named = first_best(scores)
        values: dict[str, Sequence[float]] = {
            "acc": [float(named in question.gold), 1.0],
            "f1_binary": confusion(question.gold[0], named, [1]),
            "f1_macro": confusion(question.gold[0], named, range(len(scores))),
            **ties_and_calibration(scores, question.gold),
            **_of_entity(example, named),
        }
        sample = {
            "prompt": prompts[0],
            "answers": question.continuations,
            "scores": scores,
            "gold": question.gold,
            "answer": named,
        }
        documents.append(Document(example=example, values=values, shown=shown, sample=sample))
    return _with_groups(documents)


def _solved(settings: Settings, drawn: Sequence[Sequence[Example]]) -> dict[int, str]:
    """The texts of all examples that are shown somewhere, by identity: keys are unique in one file only."""
    others = list({id(other): other for each in drawn for other in each}.values())
    if not others:
        return {}
    fields = settings.fields
    if settings.solved is not None:
        whole = {"doc_to_text": settings.solved, "doc_to_choice": [" "], "doc_to_target": 0}
        fields = {**fields, **whole, "target_delimiter": ""}
    questions = harness.render(settings.template, others, fields)
    return {id(other): question.solved.rstrip() for other, question in zip(others, questions, strict=True)}


def _prompts(
    settings: Settings, model: LanguageModel, question: harness.Question, solved: Sequence[str]
) -> tuple[list[str], int]:
    """Each choice's context, with the same solved examples: those that fit beside the longest one."""
    room = max(model.count(continuation) for continuation in question.continuations)
    longest = max(question.contexts, key=model.count)
    whole, shown = fit(model, solved, longest, room, instruction=settings.instruction)
    before = whole.removesuffix(longest)
    return [before + context for context, _ in question.pairs], shown


def _score(settings: Settings, model: LanguageModel, context: str, continuation: str) -> float:
    score = model.score(context, continuation)
    match settings.rule:
        case "per_token":
            return score.log_likelihood / max(score.tokens, 1)
        case "per_answer":
            return score.log_likelihood - model.score(settings.unconditional, continuation).log_likelihood
    return score.log_likelihood


def _of_entity(example: Example, named: int) -> dict[str, Sequence[float]]:
    """`em` and `f1` of the named entity, the best over the answers (ReCoRD, Zhang et al. 2018, section 5)."""
    if "entities" not in example.row:
        return {}
    entity, answers = example.row["entities"][named], example.row["answers"]
    return {
        "em": [max(exact(entity, answer) for answer in answers), 1.0],
        "f1": [max(f1(entity, answer) for answer in answers), 1.0],
    }


def _with_groups(documents: Sequence[Document]) -> list[Document]:
    """Give `em` to the first document of each group: 1 if all of the group is right."""
    groups: defaultdict[str, list[Document]] = defaultdict(list)
    for document in documents:
        groups[document.example.row.get("group", "")].append(document)
    for name, group in groups.items():
        right = float(all(document.values["acc"][0] for document in group))
        for document in group if name else []:
            document.values["em"] = [right, 1.0] if document is group[0] else [0.0, 0.0]
    return list(documents)
