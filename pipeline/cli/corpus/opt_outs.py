"""`outbound corpus opt-outs`: which sites of the corpus have opted out of training since."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.app import Json, emit, progress
from pipeline.cli.corpus import crawl_options as options
from pipeline.cli.corpus.app import Directory, corpus

if TYPE_CHECKING:
    from dataprep.corpus.directory import Corpus
    from dataprep.crawl.settings import CrawlSettings
    from dataprep.forget.command import Removed
    from dataprep.opt_outs.command import OptOuts, SiteOptOut


@corpus.command("opt-outs")
@options.with_settings("partitions", "archive", "archive_first")
def opt_outs(
    directory: Directory,
    settings: CrawlSettings,
    check: Annotated[bool, typer.Option("--check", help="Ask the sites again.")] = False,
    forget: Annotated[
        bool, typer.Option("--forget", help="Forget the pages that have opted out, as `corpus forget`.")
    ] = False,
    denied: Annotated[
        bool,
        typer.Option("--denied", help="Also treat it as an opt-out when robots.txt shuts our agent out."),
    ] = False,
    training_crawlers: Annotated[
        bool,
        typer.Option(
            "--training-crawlers",
            help="Take a no to known training crawlers as a no to ours, even if the recipe does not.",
        ),
    ] = False,
    pages: Annotated[
        int, typer.Option(min=0, help="Pages to request of each host, for headers and meta elements.")
    ] = 3,
    tokens: Annotated[
        list[Path] | None, typer.Option(help="Token shards of the corpus, to forget in; may be repeated.")
    ] = None,
    json: Json = False,
) -> None:
    """List the sites that have opted out of training since their pages came, as the last --check found.

    Killed, --check and --forget go on where they stopped when the command is run again.
    """
    from dataprep.corpus.directory import Corpus
    from dataprep.corpus.tombstones import unfinished
    from dataprep.crawl.training_crawlers import LATEST
    from dataprep.opt_outs import command
    from dataprep.store import locks

    if check:
        settings.refuse_without_contact()
    opened = Corpus.open(directory, forgetting=forget)
    if forget and (unfinished(directory) is not None or _are_tokens_left(opened, tokens, check)):
        removed = command.forget_found(opened, [], tokens or [], progress)
        lines = ["an earlier forget is finished; run --check again", *_token_lines(removed)]
        emit({"forgotten": asdict(removed)}, json, "\n".join(lines))
        return
    with locks.shared(directory):
        if check:
            settings = settings.limited(opened.recipe.collect.crawl)
            if training_crawlers:
                settings = settings.model_copy(update={"training_crawlers": LATEST})
            found = command.check(opened, settings, pages, progress)
        else:
            found = command.last(opened)
    chosen = found.chosen(denied)
    result: dict[str, Any] = {**asdict(found), "documents": sum(each.documents for each in chosen)}
    lines = _lines(found, chosen)
    if forget and (chosen or tokens):  # without: what an earlier call that was killed has left in tokens
        removed = command.forget_found(opened, chosen, tokens or [], progress)
        result["forgotten"] = asdict(removed)
        lines.append(f"forgotten, and kept out: {removed.links:,} links, {removed.documents:,} documents")
        lines += _token_lines(removed)
    elif chosen:
        lines.append(f"`outbound corpus opt-outs {directory} --forget` forgets them")
    emit(result, json, "\n".join(lines))


def _are_tokens_left(opened: Corpus, tokens: list[Path] | None, check: bool) -> bool:
    """Whether token shards may hold what was forgotten before: the list went with the forget of the corpus,
    after which a call may have been killed."""
    from dataprep.corpus.tombstones import tombstones
    from dataprep.opt_outs.command import RESULT

    return bool(tokens and not check and not (opened.root / RESULT).exists() and tombstones(opened.root))


def _token_lines(removed: Removed) -> list[str]:
    """What became of token shards, for people."""
    lines = [f"{name}: {number:,} documents are end-of-text" for name, number in removed.tokens.items()]
    if removed.documents and not removed.tokens:
        lines.append("token shards that were packed before still hold it: give them as --tokens")
    return lines


def _lines(found: OptOuts, chosen: list[SiteOptOut]) -> list[str]:
    """What was found, for people."""
    lines = [f"asked as {found.agent} from {found.asked} on: {found.sites:,} sites, {found.pages:,} pages"]
    total = sum(each.documents for each in chosen)
    sites = len({each.site for each in chosen})
    lines.append(f"{sites:,} sites with {total:,} documents have opted out since")
    lines += [f"{each.documents:>9,}  {each.site}  {each.signal}  {each.example}" for each in chosen]
    if left := [each for each in found.found if each not in chosen]:
        documents = sum(each.documents for each in left)
        shut = f"{len({each.site for each in left}):,} sites with {documents:,} documents"
        lines.append(f"{shut} now shut our agent out (robots.txt); --denied treats that as an opt-out")
    if found.unknown:
        reasons = ", ".join(f"{number:,} {outcome}" for outcome, number in found.unknown.items())
        lines.append(f"{sum(found.unknown.values()):,} pages gave no answer: {reasons}")
    if found.unaddressed:
        lines.append(f"{found.unaddressed:,} documents have no address on the web")
    return lines
