"""Python files that lm-eval ships, loaded without the package itself, whose import takes seconds."""

from __future__ import annotations

from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest


def lm_eval_script(name: str) -> ModuleType:
    """`tasks/NAME` of the installed lm-eval."""
    package = find_spec("lm_eval")
    if package is None or package.origin is None:
        pytest.skip("lm-eval is not installed")
    spec = spec_from_file_location("published_script", Path(package.origin).parent / "tasks" / name)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
