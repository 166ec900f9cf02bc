"""The recipe of a corpus: what is collected (frozen at creation) and how it is selected (names a build)."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import can_ada
import xxhash
import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from dataprep.errors import DataError

LISTS = {"blocked_sites_file": "blocked_sites", "blocked_subreddits_file": "blocked_subreddits"}
"""Keys of a recipe file's `collect.links` that name a file of entries, relative to the recipe."""


class Section(BaseModel):
    """A part of a recipe: immutable, and a misspelt key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


S = TypeVar("S", bound=Section)


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
    max_redirects: int = 5


class Extraction(Section):
    """How text is taken from a page (trafilatura's own words)."""

    favor_precision: bool = True
    include_comments: bool = False
    include_tables: bool = True


class Collect(Section):
    """What becomes a fact of the corpus; frozen when the corpus is made."""

    links: Links = Links()
    crawl: Crawl = Crawl()
    extraction: Extraction = Extraction()
    partition_mb: float = Field(default=256, gt=0)
    """Size of a partition's input in MB of stored pages; the unit of parallel work, never its result."""


class NearDuplicates(Section):
    """MinHash bands and the exact similarity that decides (20 bands of 7 rows find 99 % at J = 0.8)."""

    bands: int = Field(default=20, ge=1, le=20)
    rows: int = Field(default=7, ge=1, le=7)
    threshold: float = Field(default=0.8, gt=0, le=1)
    """Smallest Jaccard similarity over word 5-grams that drops the later document."""


class Select(Section):
    """Thresholds over the measurements of `score`, then deduplication."""

    languages: frozenset[str] | None = None
    """ISO 639-1 codes that are kept; none: every language."""
    min_words: int = 0
    max_words: int | None = None
    mean_word_length: tuple[float, float] | None = None
    """Smallest and largest mean length of a word in characters (Gopher: 3 to 10)."""
    min_alphabetic: float = 0.0
    """Smallest share of words with a letter (Gopher: 0.8)."""
    min_stop_words: int = 0
    """Fewest distinct of Gopher's eight English stop words (Gopher: 2)."""
    max_duplicate_lines: float = 1.0
    """Largest share of lines that repeat an earlier line (Gopher: 0.3)."""
    near_duplicates: NearDuplicates | None = NearDuplicates()


class Recipe(Section):
    """All that decides a corpus's content."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")
    collect: Collect = Collect()
    select: Select = Select()

    def text(self) -> str:
        """The recipe as YAML that reads back equal."""
        return yaml.safe_dump(_plain(self), sort_keys=False)


def load_recipe(path: Path) -> Recipe:
    """Read a recipe, with the lists that it names; raises DataError that lists every mistake."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot read the recipe: {error}") from None
    _include_lists(document, path.parent)
    return _validated(Recipe, document, str(path))


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
            lines = (directory / str(file)).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{name}: {file}: cannot read the list: {error}") from None
        entries = [entry for line in lines if (entry := line.partition("#")[0].strip())]
        del links[name]
        links[LISTS[name]] = [*(links.get(LISTS[name]) or []), *entries]


def overridden(select: Select, overrides: list[str]) -> Select:
    """Apply `a.b=value` to a select section; values are YAML. Raises DataError on a mistake."""
    document = _plain(select)
    for override in overrides:
        path, equals, value = override.partition("=")
        if not equals:
            raise DataError(f"{override!r}: expected KEY=VALUE, for example near_duplicates.threshold=0.7")
        *parents, last = path.removeprefix("select.").split(".")
        place = document
        for parent in parents:
            place[parent] = place.get(parent) or {}
            place = place[parent]
            if not isinstance(place, dict):
                raise DataError(f"{override!r}: {parent} is a value, not a section of the recipe")
        place[last] = yaml.safe_load(value)
    return _validated(Select, document, "select")


def select_hash(select: Select) -> str:
    """The name of a build: 12 hex digits over the select section with its defaults written out."""
    canonical = yaml.safe_dump(_plain(select), sort_keys=True)
    return xxhash.xxh3_128_hexdigest(canonical.encode())[:12]


def _plain(section: Section) -> dict[str, Any]:
    """A section as plain YAML types, with sets in order so that the text is reproducible."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(inner) for key, inner in value.items()}
        if isinstance(value, frozenset | set):
            return sorted(value)
        return list(value) if isinstance(value, tuple) else value

    result: dict[str, Any] = plain(section.model_dump())
    return result


def _validated(kind: type[S], document: object, where: str) -> S:
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, item['loc'])) or '(top)'}: {item['msg']}" for item in error.errors()]
        raise DataError("\n".join([f"{where}: the recipe is not valid", *lines])) from None
