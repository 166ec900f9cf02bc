"""The model card of an export: `README.md` for the Hugging Face Hub, from a run's own files.

Paths of this machine are left out of it: the settings that it prints are those that decide the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from dataprep.audit.card import CARD, LICENCE, card, files_table, funnel_table, table
from dataprep.audit.funnel import StageCount
from dataprep.store.files import hash_file
from model import GPTConfig
from pipeline.checkpoint import attempts
from pipeline.checkpoint.run_state import RunState
from pipeline.checkpoint.weights import Weights
from pipeline.costs.layers import parameters
from pipeline.monitor.evaluations import Evaluation, Score, of_run
from pipeline.monitor.run_files import display_name, read_json

RECIPE = ("model", "optimizer", "schedule", "batch", "parallel")
"""Sections of a run's settings that a card prints."""
DECONTAMINATE = "decontaminate"
"""Stage of a funnel."""


def run_card(run: Path, weights: Weights, directory: Path) -> str:
    """The card of the weights that were exported to a directory. run: the run that they are of.

    Raises RunError when a file of the run is damaged.
    """
    name, state = display_name(run.resolve()), weights.state
    funnels = dict(read_funnels(run))
    evaluation = _evaluations(run, state.step if state else None)
    scores = [(each, score) for each in evaluation for score in each.results.scores]
    return card(
        _metadata(name, "text-generation", [score for _, score in scores]),
        name,
        {
            "Model": _sizes(weights.config),
            "Licences": _LICENCES,
            "Training": _training(state) if state else "Not a run of Outbound's: nothing is known of it.",
            "Data": "\n\n".join(
                f"What became of every link{' of ' + source if source else ''}:\n\n{funnel_table(stages)}"
                for source, stages in funnels.items()
            ),
            "Decontamination": _decontamination(funnels),
            "Evaluation": _evaluation(scores, state.step if state else None),
            "Hashes": hashes(directory),
        },
    )


def tuned_card(
    run: Path,
    directory: Path,
    *,
    model: GPTConfig,
    settings: Mapping[str, Any],
    scores: Mapping[str, float],
    facts: Mapping[str, Any],
) -> str:
    """The card of a fine-tuned model. facts: name -> number or text, for a table; scores: on the dev set."""
    name = display_name(run.resolve())
    shown = {key: value for key, value in settings.items() if not isinstance(value, str | Path)}
    return card(
        _metadata(name, "text-classification", ()),
        name,
        {
            "Model": _sizes(model),
            "Licences": _LICENCES,
            "Training": f"{table(['of the training', ''], facts.items())}\n\n{_as_yaml({'finetune': shown})}",
            "Decontamination": "Unknown: it is the pretrained model's.",
            "Evaluation": table(
                ["measure, dev set", "value"], [(key, f"{v:.4g}") for key, v in scores.items()]
            )
            or "No dev set.",
            "Hashes": hashes(directory),
        },
    )


def read_funnels(run: Path) -> Iterator[tuple[str, list[StageCount]]]:
    """The funnels of the corpora that a run was trained on: (name of the source, its stages)."""
    path = attempts.latest_file(run, "funnel.json")
    for source, stages in read_json(path).items() if path else ():
        yield source, [StageCount(**stage) for stage in stages]


def hashes(directory: Path) -> str:
    """A table of the files of a directory, without the card."""
    found = sorted(path for path in directory.iterdir() if path.is_file() and path.name != CARD)
    return files_table([(path.name, path.stat().st_size, hash_file(path)) for path in found], "not listed")


_LICENCES = (
    "**Unknown.** The texts that the model learned from belong to whoever wrote them; no licence of theirs "
    "was looked for. None was chosen for the weights: replace `license` above when you choose one."
)


def _metadata(name: str, task: str, scores: Sequence[Score]) -> dict[str, Any]:
    """What stands in front, with the scores as the Hub's `model-index`."""
    found: dict[str, Any] = {
        "license": LICENCE,
        "library_name": "transformers",
        "pipeline_tag": task,
        "tags": ["outbound"],
    }
    results = [
        {
            "task": {"type": task},
            "dataset": {"name": score.task, "type": score.task},
            "metrics": [
                {
                    "type": score.measure,
                    "value": score.value,
                    "name": f"{score.measure}, {score.protocol}, {score.shots} shots",
                }
            ],
        }
        for score in scores
        if score.main and score.value is not None
    ]
    return found | ({"model-index": [{"name": name, "results": results}]} if results else {})


def _sizes(model: GPTConfig) -> str:
    norm = "before" if model.norm == "pre" else "after"
    return (
        f"A GPT of {parameters(model):,} parameters: {model.n_layer} layers, {model.n_head} heads, width "
        f"{model.d_model}, context {model.n_ctx:,} tokens, vocabulary {model.vocab_size:,}, layer norm "
        f"{norm} each part of a block. The weights are fp32."
    )


def _training(state: RunState) -> str:
    held_out = "not measured" if state.val_loss is None else f"{state.val_loss:.4f} nats a token"
    generations = ", ".join(f"{name or 'tokens'} {number}" for name, number in state.generations.items())
    rows: list[tuple[str, Any]] = [
        ("step", state.step),
        ("tokens trained on", state.tokens),
        ("training loss of the last step", f"{state.loss:.4f} nats a token"),
        ("held-out loss", held_out),
        ("processes", state.processes),
        ("hours of training", f"{state.seconds / 3600:.2f}"),
        ("resumed", f"{len(state.resumes)} times"),
        ("steps skipped, spikes undone", f"{state.skipped}, {state.spikes}"),
        ("generation of the tokens", generations or "unknown"),
        ("hash of the tokens' sources", state.sources_fingerprint or "unknown"),
        ("hash of the samples read", f"{state.stream_hash:016x}"),
    ]
    chosen = {name: state.config[name] for name in RECIPE if name in state.config}
    seed = state.config.get("run", {}).get("seed")
    return f"{table(['of the training', ''], rows)}\n\n{_as_yaml({'run': {'seed': seed}} | chosen)}"


def _as_yaml(settings: Mapping[str, Any]) -> str:
    return f"```yaml\n{yaml.safe_dump(dict(settings), sort_keys=False)}```"


def _decontamination(funnels: Mapping[str, Sequence[StageCount]]) -> str:
    if not funnels:
        return "Unknown: the tokens had no funnel of a corpus beside them."
    lines = []
    for source, stages in funnels.items():
        done = next((stage for stage in stages if stage.stage == DECONTAMINATE), None)
        where = f"{source}: " if source else ""
        lines.append(
            f"- {where}texts of evaluation sets were cut out; {done.passed:,} of {done.entered:,} documents "
            "stayed."
            if done
            else f"- {where}**none**; texts of evaluation sets may have been trained on."
        )
    return "\n".join(lines)


def _evaluations(run: Path, step: int | None) -> list[Evaluation]:
    """Evaluations of the newest evaluated step up to this one; of a score measured twice the later counts."""
    before = [each for each in of_run(run) if step is not None and (each.results.model.step or 0) <= step]
    newest = max((each.results.model.step or 0 for each in before), default=0)
    chosen: dict[str, Evaluation] = {}
    for each in (each for each in before if (each.results.model.step or 0) == newest):
        chosen |= {"/".join(sorted(score.key for score in each.results.scores)): each}
    return [*chosen.values()]


def _evaluation(scores: Sequence[tuple[Evaluation, Score]], step: int | None) -> str:
    rows = []
    for each, score in scores:
        if score.value is None:
            continue
        interval = "" if score.low is None or score.high is None else f"{score.low:.4g} to {score.high:.4g}"
        clean = "" if not score.clean or score.clean.value is None else f"{score.clean.value:.4g}"
        paper = score.nearest
        published = f"{paper.value:.4g} ({paper.name}; {_checked(paper.checked)})" if paper else ""
        limited = " (limited)" if each.results.limit else ""
        cells = (score.task, score.shots, score.protocol, score.measure, f"{score.value:.4g}", interval)
        rows.append((*cells, f"{score.n:,}{limited}", clean, published))
    if not rows:
        return "None: `outbound eval` had measured nothing of this model when it was exported."
    measured = scores[0][0].results.model.step
    note = "" if measured == step else f"Measured at step {measured:,}, before the exported one.\n\n"
    head = ["task", "shots", "protocol", "measure", "value", "95 % interval", "documents"]
    return note + table([*head, "without texts shared with the corpus", "published"], rows)


def _checked(day: str) -> str:
    return f"checked {day}" if day else "from memory or a copy"
