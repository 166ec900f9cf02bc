"""Python files that lm-eval ships, loaded without the package itself, whose import takes seconds."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType

from pipeline.eval.lm_eval_files import folder


def lm_eval_script(name: str) -> ModuleType:
    """`tasks/NAME` of the installed lm-eval."""
    spec = spec_from_file_location("published_script", folder() / name)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
