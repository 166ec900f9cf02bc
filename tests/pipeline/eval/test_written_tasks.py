"""The files of the tasks whose answers are written: they find the published names, and name what there is."""

from __future__ import annotations

from importlib import import_module
from pathlib import PurePosixPath

import pytest

from pipeline.eval.engines import answers, reading, translation
from pipeline.eval.measures import MEASURES
from pipeline.eval.tasks import TaskFile, shipped

PUBLISHED = {
    "triviaqa": ["qa/wikipedia-dev.json | triviaqa_wiki_val.jsonl", "qa/wikipedia-train.json"],
    "natural_questions": ["NQ-open.dev.jsonl | nq_open_dev.jsonl", "NQ-open.train.jsonl"],
    "webquestions": ["webquestions.examples.test.json", "webquestions.examples.train.json"],
    "coqa": ["coqa-dev-v1.0.json", "coqa-train-v1.0.json"],
    "quac": ["val_v0.2.json", "train_v0.2.json"],
    "squad2": ["dev-v2.0.json", "train-v2.0.json"],
    "drop": ["drop_dataset_dev.json", "drop_dataset_train.json"],
    "cnn_dailymail": ["cnn_dailymail_test.jsonl | cnn/stories/0a1b.story | url_lists/all_test.txt", ""],
    "wmt13_en_fr": ["newstest2013.eng | newstest2013-ref.fr.sgm", "newstest2012.en | newstest2012.fr"],
    "wmt14_en_fr": ["newstest2014-fren-src.en | newstest2014-fren-ref.fr.sgm", "newstest2013.fra"],
    "wmt14_fr_en": ["newstest2014-fren-src.fr.sgm | newstest2014-fren-ref.en", "newstest2013.eng"],
    "wmt16_de_en": ["newstest2016-deen-src.de.sgm | newstest2016-deen-ref.en.sgm", "newstest2013-ref.de.sgm"],
    "wmt16_en_ro": [
        "newstest2016-enro-src.en.sgm | newstest2016-enro-ref.ro.sgm",
        "newsdev2016-enro-ref.ro.sgm",
    ],
}
TASKS = {
    name: task
    for name, task in shipped().items()
    if task.reader.split(".")[0] in ("answers", "reading", "parallel", "summaries")
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_names_are_found(name: str) -> None:
    for part, names in zip(("test", "train"), PUBLISHED[name], strict=True):
        for path in filter(None, names.split(" | ")):
            patterns = [each for names in TASKS[name].files[part] for each in names.split("|")]
            assert any(PurePosixPath(path).match(pattern) for pattern in patterns), path
    assert not any(PurePosixPath("qa/wikipedia-train.json").match(each) for each in TASKS[name].files["test"])


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_reader_measures_and_settings_are_there(task: TaskFile) -> None:
    module, function = task.reader.split(".")
    assert callable(getattr(import_module(f"pipeline.eval.sets.{module}"), function))
    for name, protocol in task.protocols.items():
        if name != "lm-eval":
            assert {*protocol.measures} <= {*MEASURES}
            known = {"answers": answers.SETS, "reading": reading.SETS, "translation": translation.LANGUAGES}
            given = [
                protocol.settings[key] for key in ("set", "source", "target") if key in protocol.settings
            ]
            assert {*given} <= {*known.get(protocol.engine, {})}
