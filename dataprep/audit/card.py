"""Cards in the Hugging Face Hub's format: `README.md` with YAML in front, for an exported corpus or model.

A card gives what is known and where it comes from. Licences of crawled texts are unknown, as it states.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from dataprep.audit.funnel import StageCount, funnel, top_sites
from dataprep.audit.statistics import CorpusStatistics, corpus_statistics
from dataprep.corpus.directory import Build, Corpus
from dataprep.corpus.recipe import Recipe, plain, select_hash
from dataprep.decontaminate import stage as decontaminate
from dataprep.imports.inputs import kind_of
from dataprep.store.files import hash_file, replace

CARD = "README.md"
LICENCE = "unknown"
"""The Hub's word for it."""
SITES, FILES, LANGUAGES = 20, 50, 20
"""Rows that a table has at most."""
SIZES = (
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"),
    (10**9, "100M<n<1B"),
)
"""The Hub's classes of size: fewer documents than so many, and the name."""


def size_category(documents: int) -> str:
    """The Hub's class of a number of documents.

    >>> size_category(999), size_category(1000), size_category(10**10)
    ('n<1K', '1K<n<10K', 'n>1B')
    """
    return next((name for limit, name in SIZES if documents < limit), "n>1B")


def card(metadata: Mapping[str, Any], title: str, sections: Mapping[str, str]) -> str:
    """The text of a card. sections: headline -> Markdown; an empty one is left out."""
    front = yaml.safe_dump(dict(metadata), sort_keys=False, allow_unicode=True)
    parts = [f"## {name}\n\n{text.strip()}\n" for name, text in sections.items() if text.strip()]
    return f"---\n{front}---\n\n# {title}\n\n" + "\n".join(parts)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    r"""A Markdown table; empty without a row.

    >>> print(table(["site", "documents"], [["a|b", 1200]]))
    | site | documents |
    |---|---|
    | a\|b | 1,200 |
    """
    lines = [" | ".join(_cell(value) for value in row) for row in rows]
    head = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    return "\n".join([*head, *(f"| {line} |" for line in lines)]) if lines else ""


def _cell(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return " ".join(str(value).replace("|", "\\|").split())


def funnel_table(stages: Iterable[StageCount]) -> str:
    """What each stage took away, with the reasons."""
    rows = [
        (
            stage.stage,
            stage.unit,
            stage.entered,
            stage.passed,
            ", ".join(f"{reason} {count:,}" for reason, count in stage.reasons.items() if count),
        )
        for stage in stages
    ]
    return table(["stage", "of", "entered", "passed", "left out"], rows)


def files_table(files: Sequence[tuple[str, int, str]], rest: str) -> str:
    """Files as (name, bytes, xxh3-128), of many the first ones. rest: where the others are listed."""
    shown = table(["file", "bytes", "xxh3-128"], files[:FILES])
    more = len(files) - FILES
    return shown + (f"\n\n{more:,} more files: {rest}." if more > 0 else "")


def write_data_card(corpus: Corpus, build: Build, out: Path, manifest: Mapping[str, Any]) -> Path:
    """Write the data card of an export, once its manifest stands; returns its path."""
    path = out / CARD
    replace(path, data_card(corpus, build, out, manifest).encode())
    return path


def data_card(corpus: Corpus, build: Build, out: Path, manifest: Mapping[str, Any]) -> str:
    """The data card of an export of a build. manifest: as `dataprep.shards.export` returns it."""
    recipe, statistics = corpus.recipe, corpus_statistics(corpus, build)
    form = manifest["format"]
    files = [(each["path"], each["bytes"], each["xxh3_128"]) for each in manifest["files"]]
    codes = [code for code in statistics.languages if code != "unknown"]
    metadata: dict[str, Any] = {
        "pretty_name": recipe.name,
        "license": LICENCE,
        "task_categories": ["text-generation"],
        "size_categories": [size_category(manifest["documents"])],
        "tags": ["outbound"],
        **({"language": codes} if codes else {}),
    }
    if files:
        data = [{"split": "train", "path": f"*.{form}"}]
        metadata["configs"] = [{"config_name": "default", "data_files": data}]
    masked = ", ".join(f"{count:,} of kind {kind}" for kind, count in manifest["masked"].items())
    sizes = (
        f"Documents: {manifest['documents']:,}; files ({form}): {len(files):,}; bytes: "
        f"{sum(size for _, size, _ in files):,}; columns: {', '.join(manifest['columns'])}. "
        + (f"Masked addresses: {masked}." if masked else "No address was masked by the export.")
    )
    sections = {
        "Sizes": sizes + "\n\n" + _languages(statistics),
        "Licences": _licences(manifest["columns"]),
        "Sources": _sources(corpus, build, statistics),
        "Recipe": _recipe(recipe, build),
        "Funnel": funnel_table(funnel(corpus.root, build)),
        "Decontamination": _decontamination(recipe, build),
        "Hashes": f"Build `{build.name}`. `manifest.json` lists every file with rows and hash; its own is "
        f"`{hash_file(out / 'manifest.json')}` (xxh3-128).\n\n"
        + files_table(files, "manifest.json lists them"),
    }
    return card(metadata, f"The corpus {recipe.name}", sections)


def _languages(statistics: CorpusStatistics) -> str:
    rows = [*statistics.languages.items()]
    return table(["language (ISO 639-1, guessed)", "documents"], rows[:LANGUAGES])


def _licences(columns: Sequence[str]) -> str:
    where = " The column `url` names the page of each document." if "url" in columns else ""
    return (
        "**Unknown.** The texts belong to whoever wrote them. No licence was looked for and none is granted "
        "here: find out what you may do with them before you pass them on." + where
    )


def _sources(corpus: Corpus, build: Build, statistics: CorpusStatistics) -> str:
    kinds = {increment.path.name: kind_of(increment) or "dumps" for increment in corpus.increments()}
    rows = [(each.increment, kinds[each.increment], each.documents, each.kept) for each in statistics.growth]
    increments = table(["increment", "from", "documents", "kept"], rows)
    given = [(site, count) for site, count in top_sites(corpus.root, SITES, build) if site]  # books have none
    sites = table(["site", "documents kept"], given)
    return f"{increments}\n\nThe sites that gave most:\n\n{sites}" if sites else increments


def _recipe(recipe: Recipe, build: Build) -> str:
    if _is_of(recipe, build):
        return f"```yaml\n{recipe.text()}```"
    collected = yaml.safe_dump({"name": recipe.name, "collect": plain(recipe)["collect"]}, sort_keys=False)
    return (
        f"```yaml\n{collected}```\n\nThe selection of build `{build.name}` is not that of the corpus's "
        "recipe: `corpus select` was given changes, or other corpora are excluded. The build's name is the "
        "hash of its selection."
    )


def _is_of(recipe: Recipe, build: Build) -> bool:
    """Whether a build is that of the recipe as it stands; never where other corpora enter its name."""
    return build.name == select_hash(recipe.select)


def _decontamination(recipe: Recipe, build: Build) -> str:
    if not build.parts(decontaminate.STEP):
        return "**None.** Texts of evaluation sets may be in this corpus."
    done = "Texts of evaluation sets were cut out by GPT-3's rule (Brown et al. 2020, appendix C)"
    rules = recipe.select.decontaminate
    if rules is None or not _is_of(recipe, build):
        return f"{done}."
    return (
        f"{done}: {rules.ngram} words in a row shared with an example, and {rules.window} characters on "
        f"either side; pieces under {rules.min_piece} characters, and documents in more than "
        f"{rules.max_pieces} pieces, were dropped. An n-gram of {rules.common} kept documents was ignored "
        f"from then on. The sets have the hash `{rules.content}`."
    )
