"""The documentation that this Python already holds, rendered to pages by Python's own `pydoc` machinery.

Standard library, language reference, and the libraries that Outbound depends on: real prose, a few
megabytes of it, offline. `python -m pipeline.demo.library OUT` renders it in a process of its own, so that
what importing hundreds of modules drags in is gone when the pages are written.
"""

from __future__ import annotations

import contextlib
import html
import importlib.util
import inspect
import json
import os
import pkgutil
import pydoc
import re
import subprocess
import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from pipeline.demo.prose import to_html
from pipeline.errors import RunError

OWN_PAGE_CHARS = 3_000  # a class or function that says more than this gets a page of its own
MIN_CHARS = 500  # a module that says less than this gets none

# Importing these opens browsers or windows, prints, starts programs, or is a test or a relic.
SKIPPED = frozenset(
    "antigravity this idlelib test tests idle_test lib2to3 turtledemo turtle tkinter distutils ensurepip "
    "venv __main__ pythonwin msilib conftest testing typing_extensions".split()
)

# Whole packages are walked; of the two whose submodules start compilers or windows, the documented modules.
NUMPY = ("numpy",)
TORCH = tuple(
    "torch torch.nn torch.nn.modules torch.nn.functional torch.nn.init torch.nn.utils torch.nn.utils.rnn "
    "torch.autograd torch.optim torch.optim.lr_scheduler torch.sparse torch.utils.data torch.fft "
    "torch.distributions torch.distributed torch.linalg torch.special torch.func torch.fx torch.jit "
    "torch.profiler torch.distributed.pipelining torch.distributed.fsdp torch.distributed.checkpoint "
    "torch.nn.parallel torch.utils.checkpoint torch.random torch.hub torch.overrides torch.export".split()
)
MATPLOTLIB = tuple(
    "matplotlib.axes matplotlib.figure matplotlib.artist matplotlib.axis matplotlib.cm matplotlib.colors "
    "matplotlib.colorbar matplotlib.collections matplotlib.contour matplotlib.dates matplotlib.gridspec "
    "matplotlib.image matplotlib.legend matplotlib.lines matplotlib.patches matplotlib.path "
    "matplotlib.quiver matplotlib.scale matplotlib.spines matplotlib.text matplotlib.ticker "
    "matplotlib.transforms matplotlib.widgets matplotlib.animation".split()
)


@dataclass(frozen=True)
class DocPage:
    """One page of documentation, as the site at `host` serves it at `path`."""

    host: str
    path: str
    title: str
    html: str

    @property
    def url(self) -> str:
        return f"http://{self.host}{self.path}"


def render(small: bool = False) -> list[DocPage]:
    """Render every page, in the same order and with the same bytes each time on one machine.

    `small` leaves out the submodules, and the libraries that are slow to import.
    """
    pages = [*_language_reference("reference.language.test")]
    stdlib = sorted(set(sys.stdlib_module_names) - SKIPPED)
    pages += _library("docs.stdlib.test", "Standard library", stdlib, walk=not small)
    if not small:
        pages += _library("docs.numpy.test", "NumPy", NUMPY)
        pages += _library("docs.torch.test", "PyTorch", TORCH, walk=False)
        pages += _library("docs.plotting.test", "Matplotlib", MATPLOTLIB, walk=False)
    pages += _locale_data("locales.example.test")
    return pages


def _language_reference(host: str) -> Iterator[DocPage]:
    """One page a topic of the language reference, as `help("topic")` shows it."""
    from pydoc_data.topics import topics

    for name, text in sorted(topics.items()):
        heading, _, rest = text.strip().partition("\n")
        body = rest.split("\n", 1)[-1] if set(rest.partition("\n")[0]) <= set("*=-") else rest
        title = heading.replace('"', "").strip("* ")
        yield _page(
            host, f"/reference/{name}.html", title, to_html(inspect.cleandoc(body)), "Language reference"
        )


def _library(host: str, shelf: str, roots: Iterable[str], walk: bool = True) -> Iterator[DocPage]:
    """A page a module, and a page for each class or function that has much to say."""
    seen: set[int] = set()
    for module in (m for root in roots for m in (_modules(root) if walk else _import(root))):
        manual = Manual()
        own: list[tuple[str, str]] = []
        parts: list[tuple[str, str]] = []
        for name, member in _members(module, seen):
            body = manual.document(member, name)
            target = own if len(body) >= OWN_PAGE_CHARS else parts
            target.append((name, body))
        where = "/" + module.__name__.replace(".", "/")
        for name, body in own:
            title = f"{module.__name__}.{name}"
            yield _page(host, f"{where}/{name}.html", title, body, shelf, up=f"{where}.html")
        links = "".join(f'<li><a href="{where}/{name}.html">{name}</a></li>' for name, _ in own)
        body = manual.document(module, module.__name__) + "".join(body for _, body in parts)
        if len(body) >= MIN_CHARS:
            yield _page(host, f"{where}.html", module.__name__, body, shelf, contents=links)


def _modules(name: str) -> Iterator[ModuleType]:
    """A module and its public submodules, those left out that cannot or should not be imported."""
    for module in _import(name):
        yield module
        for found in pkgutil.iter_modules(getattr(module, "__path__", ())):
            if not found.name.startswith("_") and found.name not in SKIPPED:
                yield from _modules(f"{name}.{found.name}")


def _import(name: str) -> Iterator[ModuleType]:
    """The module, unless it is private or belongs to another platform or an absent library."""
    if name.startswith("_"):
        return
    with open(os.devnull, "w") as null, contextlib.redirect_stdout(null), contextlib.redirect_stderr(null):
        try:
            module = pydoc.safeimport(name)
        except (pydoc.ErrorDuringImport, SystemExit):
            return
    if isinstance(module, ModuleType):
        yield module


def _members(module: ModuleType, seen: set[int]) -> list[tuple[str, Any]]:
    """What a module itself defines or exports, each object once over the whole library, by name."""
    exported = getattr(module, "__all__", ())
    found = []
    for name, member in sorted(vars(module).items()):
        public = pydoc.visiblename(name, list(exported) or None) and not name.startswith("_")
        home = getattr(member, "__module__", None)
        if not public or inspect.ismodule(member) or not callable(member) or id(member) in seen:
            continue
        if home == module.__name__ or name in exported:
            seen.add(id(member))
            found.append((name, member))
    return found


class Manual(pydoc.Doc):
    """`pydoc`'s document generator, writing plain semantic HTML with no paths, addresses or module data."""

    def docmodule(self, object: Any, name: str | None = None, *ignored: Any) -> str:  # noqa: A002
        return to_html(_doc(object), 2)

    def docclass(self, object: Any, name: str | None = None, *ignored: Any) -> str:  # noqa: A002
        parts = [_heading(2, f"class {name}", object), to_html(_doc(object))]
        for member_name, kind, home, member in pydoc.classify_class_attrs(object):
            if home is object and kind != "data" and pydoc.visiblename(member_name, obj=object):
                parts.append(self.document(member, member_name) if _doc(member) else "")
        return _section(parts)

    def docroutine(self, object: Any, name: str | None = None, *ignored: Any) -> str:  # noqa: A002
        text = to_html(_doc(object), 4)
        return _section([_heading(3, str(name), object), text]) if text else ""

    def docother(self, object: Any, name: str | None = None, *ignored: Any) -> str:  # noqa: A002
        """Callables that are neither class nor function, such as NumPy's universal functions."""
        if _doc(object) == _doc(type(object)):
            return ""
        return self.docroutine(object, name)

    docproperty = docdata = docroutine


def _doc(member: Any) -> str:
    text = getattr(member, "__doc__", None)
    return _neutral(inspect.cleandoc(text)) if isinstance(text, str) else ""


def _heading(level: int, name: str, member: Any) -> str:
    try:
        signature = str(inspect.signature(member))
    except (ValueError, TypeError):
        signature = ""
    if len(signature) > 160:  # generated overloads; a reader learns nothing from them
        signature = "(...)"
    return f"<h{level}>{html.escape(_neutral(name + signature), quote=False)}</h{level}>"


def _section(parts: list[str]) -> str:
    return "<section>" + "\n".join(part for part in parts if part) + "</section>\n"


def _neutral(text: str) -> str:
    """A text without object addresses and without this machine's paths."""
    text = re.sub(r" at 0x[0-9a-fA-F]{6,}", "", text)
    own = {sys.prefix, sys.base_prefix, str(Path.home())} - {"/", "/usr", "/usr/local"}
    for path in sorted(own, key=len, reverse=True):
        text = text.replace(path, "...")
    return text


def _locale_data(host: str) -> Iterator[DocPage]:
    """Pages in other languages: Unicode's names of countries and languages, if a dependency has them."""
    if importlib.util.find_spec("babel") is None:
        return
    from babel import Locale

    for code in ("de", "es", "fr", "ja"):
        locale = Locale(code)
        names = ("languages", "territories", "currencies")
        lists = ((getattr(locale, name), name) for name in names)
        body = "".join(f"<p>{html.escape(', '.join(v for _, v in sorted(d.items())))}.</p>" for d, _ in lists)
        yield _page(host, f"/{code}.html", str(locale.display_name).capitalize(), body, "CLDR", language=code)


def _page(
    host: str,
    path: str,
    title: str,
    body: str,
    shelf: str,
    *,
    up: str = "",
    contents: str = "",
    language: str = "en",
) -> DocPage:
    index = f"<nav><h2>Contents</h2><ul>{contents}</ul></nav>" if contents else ""
    parent = f' &rsaquo; <a href="{up}">{up.strip("/")}</a>' if up else ""
    title_html = html.escape(title, quote=False)
    text = f"""<!DOCTYPE html>
<html lang="{language}">
<head><meta charset="utf-8"><title>{title_html} - {shelf}</title></head>
<body>
<header><nav><a href="/">{shelf}</a>{parent}</nav></header>
<main><article>
<h1>{title_html}</h1>
{body}
</article></main>
{index}
<footer><p>{shelf} documentation at <a href="/">{host}</a>, under the terms of its authors.</p></footer>
</body>
</html>
"""
    return DocPage(host, path, title, text)


def rendered(file: Path, small: bool = False) -> list[DocPage]:
    """Return the pages, rendered into `file` (JSON lines) by a process of its own if it is not there yet."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        command = [
            sys.executable,
            "-P",
            "-m",
            "pipeline.demo.library",
            str(file),
            *(["--small"] if small else []),
        ]
        # The order of sets shows in default values of signatures; a fixed hash seed fixes it.
        child = subprocess.run(
            command, env=os.environ | {"PYTHONHASHSEED": "0"}, stderr=subprocess.PIPE, text=True
        )
        if child.returncode:
            raise RunError(f"the documentation pages could not be rendered: {child.stderr[-2000:]}")
    with file.open(encoding="utf-8") as lines:
        return [DocPage(**json.loads(line)) for line in lines]


def main(out: Path, small: bool) -> None:
    warnings.simplefilter("ignore")
    beside = out.with_suffix(".part")
    with beside.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(asdict(page), ensure_ascii=False) + "\n" for page in render(small))
    beside.replace(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), "--small" in sys.argv[2:])
