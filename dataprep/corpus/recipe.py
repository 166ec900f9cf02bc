"""The recipe of a corpus: what is collected (frozen at creation) and how it is selected (names a build)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal

import can_ada
import xxhash
import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from dataprep import yaml_settings
from dataprep.corpus import evalsets
from dataprep.errors import DataError, UsageError

LISTS = {"blocked_sites_file": "blocked_sites", "blocked_subreddits_file": "blocked_subreddits"}
"""Keys of a recipe file's `collect.links` that name a file of entries, relative to the recipe."""


class Section(BaseModel):
    """A part of a recipe: immutable, and a misspelt key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


def _domains(names: frozenset[str]) -> frozenset[str]:
    """Domains as canonical URLs spell them; raises ValueError for what is none."""
    domains = set()
    for name in names:
        try:
            domains.add(can_ada.parse(f"http://{name.strip('.')}/").hostname)
        except ValueError:
            name = ""
        if not name or set(name) & set("/:@?#"):
            raise ValueError("every entry is a domain, as example.com is")
    return frozenset(domains)


def _subreddits(names: frozenset[str]) -> frozenset[str]:
    return frozenset(name.lower().removeprefix("/").removeprefix("r/") for name in names)


class Links(Section):
    """Which submissions give a link (Radford et al. 2019, section 2.1, for the defaults)."""

    karma: int = 3
    """The bar that a URL must reach."""
    karma_rule: Literal["post", "sum"] = "post"
    """`post`: one submission reaches the bar (WebText); `sum`: all submissions together (OpenWebText2)."""
    over_18: bool = False
    """Take submissions marked as over 18."""
    until: date | None = None
    """Take submissions created before this date (ISO, UTC)."""
    blocked_sites: Annotated[frozenset[str], AfterValidator(_domains)] = frozenset()
    """Domains of which nothing is taken, nor of any name under them; Reddit's own are always blocked.

    In a recipe file, `blocked_sites_file` adds the lines of a file beside it.
    """
    blocked_subreddits: Annotated[frozenset[str], AfterValidator(_subreddits)] = frozenset()
    """Subreddits that are never taken; `blocked_subreddits_file` adds the lines of a file."""
    blocked_extensions: frozenset[str] = frozenset(
        "7z apk avi bmp bz2 dmg doc docx exe flac flv gif gifv gz ico iso jpeg jpg m4a m4v mkv mov mp3 mp4 "
        "mpeg mpg msi ogg ogv pdf png ppt pptx ps rar svg swf tar tgz tif tiff torrent wav webm webp wma wmv "
        "xls xlsx zip".split()
    )
    """File name endings of a URL's path that are not pages of text."""


class Crawl(Section):
    """Limits of one fetch, in seconds and bytes; how polite a crawl is stands in the command."""

    max_bytes: int = 8 << 20
    """Largest body after decompression."""
    total_timeout_s: float = 60.0
    """One request from start to last byte."""
    max_redirects: int = 5
    """Most redirects that are followed for one link."""
    training_crawlers: Literal[1] | None = None
    """Version of the list of training crawlers, as GPTBot (dataprep/crawl/training_crawlers.py). A page from
    which robots.txt shuts one out by name is opted out for ours, too. null: they do not count."""


class Extraction(Section):
    """How text is taken from a page (the first three are trafilatura's own words), and which are refused.

    Its time can grow with the square of a page's elements; 20,000, more than pages have, take up to 4 s.
    """

    favor_precision: bool = False
    """Drop more of what may be no main text. On the pages with a known truth it loses more than it gains."""
    include_comments: bool = False
    """Extract readers' comments below an article, too."""
    include_tables: bool = True
    """Extract the text of tables, too."""
    max_bytes: int = Field(default=8 << 20, gt=0)
    """Largest page, decompressed; a larger one is `too_large`."""
    max_elements: int = Field(default=20_000, gt=0)
    """Most HTML elements; more are `too_many_elements`."""
    max_depth: int = Field(default=200, gt=0, le=250)
    """Deepest nesting; more is `too_deep` (the parser itself drops what is over 255)."""
    cpu_seconds: float = Field(default=30, gt=0)
    """CPU time for a page; more is `timed_out`. As the memory, a backstop that a page should never reach."""
    memory_mb: int = Field(default=1024, ge=256)
    """Memory of the process that extracts; more is `out_of_memory`."""


class Collect(Section):
    """What becomes a fact of the corpus; frozen when the corpus is made."""

    links: Links = Links()
    crawl: Crawl = Crawl()
    extraction: Extraction = Extraction()
    quality: str | None = None
    """File of a quality model, relative to the recipe; `corpus init` copies it into the corpus."""
    partition_mb: float = Field(default=256, gt=0)
    """Size of a partition's input in MB of stored pages; the unit of parallel work, never its result."""


class NearDuplicates(Section):
    """MinHash bands and the exact similarity that decides (20 bands of 7 rows find 99 % at J = 0.8)."""

    bands: int = Field(default=20, ge=1, le=20)
    """Bands of a signature; documents that share one are compared."""
    rows: int = Field(default=7, ge=1, le=7)
    """Hashes of a band."""
    threshold: float = Field(default=0.8, gt=0, le=1)
    """Smallest Jaccard similarity over word 5-grams that drops the later document."""


class Gopher(Section):
    """Gopher's rules (Rae et al. 2021, appendix A.1.1 and table A1); null switches a rule off.

    `min_X` and `max_X` bound the measurement `gopher_X`, here and in the sections below.
    """

    max_duplicate_paragraphs: float | None = 0.30
    """Largest share of the paragraphs that repeat an earlier one."""
    max_duplicate_paragraph_characters: float | None = 0.20
    """Largest share of the characters in such paragraphs."""
    max_duplicate_lines: float | None = 0.30
    """Largest share of the lines that repeat an earlier one."""
    max_duplicate_line_characters: float | None = 0.20
    """Largest share of the characters in such lines."""
    max_top_2_gram: float | None = 0.20
    """Largest share of the characters in the most frequent sequence of two words."""
    max_top_3_gram: float | None = 0.18
    """The same of three words."""
    max_top_4_gram: float | None = 0.16
    """The same of four words."""
    max_duplicate_5_grams: float | None = 0.15
    """Largest share of the characters in sequences of five words that repeat an earlier one."""
    max_duplicate_6_grams: float | None = 0.14
    """The same of six words."""
    max_duplicate_7_grams: float | None = 0.13
    """The same of seven words."""
    max_duplicate_8_grams: float | None = 0.12
    """The same of eight words."""
    max_duplicate_9_grams: float | None = 0.11
    """The same of nine words."""
    max_duplicate_10_grams: float | None = 0.10
    """The same of ten words."""
    min_words: int | None = 50
    """Fewest words with a letter or digit."""
    max_words: int | None = 100_000
    """Most such words."""
    min_word_length: float | None = 3
    """Smallest mean length of a word in characters."""
    max_word_length: float | None = 10
    """Largest mean length."""
    max_hashes: float | None = 0.1
    """Most `#` a word."""
    max_ellipses: float | None = 0.1
    """Most ellipses a word."""
    max_bullet_lines: float | None = 0.9
    """Largest share of the lines that begin with a bullet."""
    max_ellipsis_lines: float | None = 0.3
    """Largest share of the lines that end in an ellipsis."""
    min_alphabetic: float | None = 0.8
    """Smallest share of words with a letter."""
    min_stop_words: int | None = 2
    """Fewest different ones of eight English stop words."""


class C4(Section):
    """C4's rules for pages (Raffel et al. 2020, section 2.2), over the lines that C4 would have left."""

    terminal_punctuation: bool = True
    """Count only lines that end in terminal punctuation, as the paper does; FineWeb does not."""
    max_lorem_ipsum: int | None = 0
    """Most lines that hold "lorem ipsum"."""
    max_curly_brackets: int | None = 0
    """Most lines that hold a curly bracket."""
    min_sentences: int | None = 5
    """Fewest sentences."""
    min_lines: float | None = None
    """Smallest share of the lines that C4 would have left; no rule of the paper, which drops the others."""


class FineWeb(Section):
    """FineWeb's own rules (Penedo et al. 2024, section 3.6)."""

    min_terminal_lines: float | None = 0.12
    """Smallest share of the lines that end in terminal punctuation."""
    max_short_lines: float | None = 0.67
    """Largest share of the lines of at most 30 characters."""
    max_duplicate_characters: float | None = 0.1
    """Largest share of characters in repeated lines: the paper's; the code that made FineWeb has 0.01."""
    max_newlines: float | None = 0.3
    """Most newlines a word: of the code, not in the paper."""


class Quality(Section):
    """GPT-3's rule: a document stays if a draw from a Pareto distribution exceeds 1 - its quality."""

    alpha: float = Field(default=9, gt=0)
    """The higher, the fewer documents of low quality stay (Brown et al. 2020, appendix A)."""


class Decontaminate(Section):
    """Evaluation sets, and what of them is cut out of documents (GPT-3's appendix C for the defaults)."""

    sets: str
    """A directory of evaluation sets (`evalsets.py`). A recipe's path begins at the recipe file."""
    content: str = ""
    """The hash of what the sets hold: filled in when a recipe is read, and it names the build, not `sets`."""
    ngram: int = Field(default=13, ge=1)
    """Words in a row that a document and an example must share."""
    window: int = Field(default=200, ge=0)
    """Characters that go with an n-gram, on either side."""
    min_piece: int = Field(default=200, ge=1)
    """Shorter pieces of a cut document, in characters, are dropped."""
    max_pieces: int = Field(default=10, ge=1)
    """A document that falls into more pieces, short ones included, is dropped."""
    common: int = Field(default=10, ge=1)
    """An n-gram is ignored from the kept document on that comes after so many with it."""


class Select(Section):
    """Thresholds over the measurements of `score`, deduplication, decontamination, and the text shards.

    The rules hold in the order in which they stand here; the first that fails is the verdict, by its name in
    the recipe (`gopher.max_hashes`).
    """

    languages: frozenset[str] | None = None
    """ISO 639-1 codes that are kept; none: every language."""
    min_language_probability: float | None = None
    """How sure the language must be."""
    min_words: int | None = None
    """Fewest words, as white space separates them."""
    max_words: int | None = None
    """Most words."""
    gopher: Gopher | None = None
    c4: C4 | None = None
    fineweb: FineWeb | None = None
    quality: Quality | None = None
    exclude: tuple[str, ...] = ()
    """Other corpora, by paths that begin in this one's directory: what repeats a document that passed the
    thresholds of their current build, exactly or nearly, is dropped."""
    near_duplicates: NearDuplicates | None = NearDuplicates()
    decontaminate: Decontaminate | None = None
    mask: frozenset[Literal["email", "ip"]] = frozenset()
    """Kinds of addresses that the text shards hold no more (dataprep/text/masking.py)."""
    shard_mb: float = Field(default=128, gt=0)
    """Size of a text shard in millions of characters of text."""


class Recipe(Section):
    """All that decides a corpus's content."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    """Name of the recipe, in reports."""
    collect: Collect = Collect()
    select: Select = Select()

    def text(self) -> str:
        """The recipe as YAML that reads back equal."""
        return yaml.safe_dump(plain(self), sort_keys=False)

    def with_quality(self, model: Path | None) -> Recipe:
        """The recipe with another quality model, if one is given.

        Raises UsageError when the recipe selects by quality and names no model.
        """
        collect = self.collect
        if model is not None:
            collect = collect.model_copy(update={"quality": str(model.resolve())})
        if self.select.quality and collect.quality is None:
            raise UsageError(
                f"{self.name}: selects by quality; train a model and give it with --quality MODEL"
            )
        return self.model_copy(update={"collect": collect})


def load_recipe(path: Path) -> Recipe:
    """Read a recipe, with the lists that it names.

    Raises UsageError that lists every mistake, DataError for a list or evaluation set that cannot be read.
    """
    document = yaml_settings.read(path, "sections (name, collect, select)")
    _include_lists(document, path.parent)
    _pin_sets(document.get("select"), path.parent)
    return yaml_settings.checked(Recipe, document, str(path))


def _include_lists(document: Any, directory: Path) -> None:
    """Put what `blocked_sites_file` and `blocked_subreddits_file` hold in their place.

    So the recipe of a corpus says itself what it blocks, whatever becomes of the files. A line is an entry;
    `#` begins a comment.
    """
    try:
        links = document["collect"]["links"]
        files = {name: links[name] for name in LISTS if name in links}
    except (KeyError, TypeError):
        return  # no such section; what else is wrong with it, the validation says
    for name, file in files.items():
        try:
            lines = (directory / str(file)).read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or error
            raise DataError(
                f"{directory / str(file)}: cannot be read ({why}); the recipe names it as its {name}: put "
                "the list there, or name another"
            ) from None
        entries = [entry for line in lines if (entry := line.partition("#")[0].strip())]
        del links[name]
        links[LISTS[name]] = [*(links.get(LISTS[name]) or []), *entries]


def _pin_sets(select: Any, directory: Path) -> None:
    """Put the hash of the evaluation sets beside their path, unless it stands there, as in a corpus's recipe.

    Raises DataError when there are no sets.
    """
    decontaminate = select.get("decontaminate") if isinstance(select, dict) else None
    if not isinstance(decontaminate, dict) or decontaminate.get("content") or "sets" not in decontaminate:
        return
    sets = (directory / str(decontaminate["sets"])).resolve()
    decontaminate |= {"sets": str(sets), "content": evalsets.content(evalsets.hashes(sets))}


def overridden(select: Select, overrides: list[str]) -> Select:
    """Apply `a.b=value` to a select section; values are YAML, and a path begins where we are.

    Raises UsageError on a mistake.
    """
    document = plain(select)
    for override in overrides:
        change = override.removeprefix("select.")
        yaml_settings.override(document, change, "near_duplicates.threshold=0.7")
        if change.startswith("decontaminate.sets="):
            document["decontaminate"].pop("content", None)
    _pin_sets(document, Path())
    return yaml_settings.checked(Select, document, "select")


def select_hash(select: Select, excluded: Sequence[Mapping[str, Any]] = ()) -> str:
    """The name of a build: 12 hex digits over the select section with its defaults written out.

    Evaluation sets count by what they hold, not by where they lie; the corpora that are excluded by their
    builds (`exclude.py`). The versions of what cuts and masks text count, too: a build never mixes two.
    """
    from dataprep.text import masking, ngrams

    section = plain(select) | {"exclude": list(excluded)}
    if section["decontaminate"]:
        del section["decontaminate"]["sets"]
        section["decontaminate"]["grams"] = ngrams.VERSION
    if section["mask"]:
        section["masking"] = masking.VERSION
    canonical = yaml.safe_dump(section, sort_keys=True)
    return xxhash.xxh3_128_hexdigest(canonical.encode())[:12]


def plain(section: Section) -> dict[str, Any]:
    """A section as plain YAML types, with sets in order so that the text is reproducible."""

    def convert(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: convert(inner) for key, inner in value.items()}
        if isinstance(value, frozenset | set):
            return sorted(value)
        return list(value) if isinstance(value, tuple) else value

    result: dict[str, Any] = convert(section.model_dump())
    return result
