"""No module calls a reader with which a file could execute something (DESIGN 8, promise 6)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGES = ("dataprep", "model", "pipeline", "slurm")
ROOT = Path(__file__).parents[2]
FORBIDDEN_MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FORBIDDEN_NAMES = {"eval", "exec", "compile", "__import__"}
FORBIDDEN_CALLS = {
    *("torch.load", "torch.jit.load", "torch.hub.load", "torch.package.PackageImporter"),
    *("yaml.unsafe_load", "yaml.unsafe_load_all", "yaml.full_load", "yaml.load_all", "os.system", "os.popen"),
}
FORBIDDEN_METHODS = {
    *("load_checkpoint", "load_module_state_dict"),  # DeepSpeed's unpickle
    *("all_gather_object", "gather_object", "broadcast_object_list", "scatter_object_list"),  # torch's, too
    *("read_pickle", "from_pretrained"),
}


def unsafe(source: str) -> list[str]:
    """The calls and imports of a module with which a file could execute something."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = (
                [each.name for each in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            )
            found += [name for name in names if name.partition(".")[0] in FORBIDDEN_MODULES]
        elif isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            given = {each.arg: ast.unparse(each.value) for each in node.keywords}
            loader = given.get("Loader") or (ast.unparse(node.args[1]) if len(node.args) > 1 else "")
            if (
                name in FORBIDDEN_NAMES | FORBIDDEN_CALLS
                or name.rpartition(".")[2] in FORBIDDEN_METHODS
                or given.get("allow_pickle", "False") != "False"
                or given.get("shell", "False") != "False"
                or (name == "yaml.load" and loader not in ("_Loader", "yaml.SafeLoader"))
            ):
                found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_calls_a_reader_that_executes(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    found = {str(path.relative_to(ROOT)): calls for path in files if (calls := unsafe(path.read_text()))}
    assert found == {}


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "torch.load(path, weights_only=True)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=trusted)",
        "yaml.load(text, yaml.Loader)",
        "yaml.load(text, Loader=yaml.FullLoader)",
        "engine.load_checkpoint(path)",
        "dist.broadcast_object_list([a])",
        "subprocess.run(line, shell=True)",
        "eval(text)",
    ],
)
def test_the_search_finds_such_calls(line: str) -> None:
    assert unsafe(line)


def test_the_search_lets_safe_ones_be() -> None:
    assert not unsafe("yaml.safe_load(t); model.eval(); np.load(p, 'r', allow_pickle=False); re.compile(x)")
