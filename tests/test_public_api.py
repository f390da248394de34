"""The names that users call, what importing costs, who may import whom, and what the source never does."""

import ast
import inspect
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import rayzer

SOURCE = Path(rayzer.__file__).parent
MODULES = {path.relative_to(SOURCE): ast.parse(path.read_text()) for path in sorted(SOURCE.rglob("*.py"))}

NAMES = [
    "Cameras",
    "InputError",
    "LVSM",
    "LVSMConfig",
    "Prediction",
    "RayZer",
    "RayZerConfig",
    "ViewSplit",
    "evaluation.metrics.psnr",
    "evaluation.metrics.ssim",
    "geometry.normalize_poses",
    "load_images",
    "load_model",
    "load_views",
    "losses.LPIPS",
    "losses.PerceptualLoss",
    "losses.StructuralLoss",
    "losses.load_lpips",
    "losses.load_vgg19",
    "push_model",
    "save_model",
]

BASE = {"devices", "errors", "files", "geometry", "progress", "strict", "view_split"}
MAY_IMPORT = {  # folder or file -> what else of rayzer it may import, at its top or inside functions
    "devices": {"errors"},
    "errors": set(),
    "progress": set(),
    "geometry": {"errors"},
    "losses": {"errors", "files"},
    "files": {"errors"},
    "report": {"errors", "files"},
    "strict": {"errors"},
    "view_split": {"errors", "geometry"},
    "data": BASE,
    "model": BASE | {"configs"},  # configs only inside functions: a preset's name may stand for a configuration
    "configs": BASE | {"data", "model", "training"},
    "rendering": BASE | {"data"},
    "training": BASE | {"data", "losses", "model"},
    "evaluation": BASE | {"configs", "data", "losses", "model", "rendering", "report"},
    "prediction": BASE | {"configs", "data", "evaluation", "model", "rendering", "report"},
    "viewer": BASE | {"configs", "data", "model", "prediction", "rendering", "report"},
    "benchmarks": BASE | {"configs", "data", "losses", "model", "rendering", "training"},
    "__main__": {"cli"},
}


def python(code: str) -> str:
    """What a fresh interpreter prints."""
    environment = {"PYTHONPATH": str(SOURCE.parent), "PATH": "/usr/bin:/bin"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    return run.stdout.strip()


@pytest.mark.parametrize("name", NAMES)
def test_public_name(name):
    found = rayzer
    for part in name.split("."):
        found = getattr(found, part)
    assert callable(found)
    assert inspect.getdoc(found)


def test_public_names_are_listed():
    assert {name.split(".")[0] for name in NAMES} <= set(dir(rayzer))
    assert rayzer.__version__


def test_calling_forms_of_the_contract():
    def parameters(function):
        return list(inspect.signature(function).parameters)

    assert parameters(rayzer.load_model) == ["source", "config", "device"]
    assert parameters(rayzer.load_views) == ["scene_json", "indices", "image_size", "patch_size"]
    assert parameters(rayzer.RayZer.forward) == ["self", "images", "split"]
    assert parameters(rayzer.LVSM.forward) == ["self", "images", "split", "cameras"]
    assert parameters(rayzer.RayZer.estimate_cameras) == ["self", "images", "positions"]
    assert parameters(rayzer.RayZer.reconstruct) == ["self", "images", "cameras", "positions"]
    assert parameters(rayzer.RayZer.render) == ["self", "scene", "cameras"]
    assert parameters(rayzer.geometry.normalize_poses) == ["world_from_camera", "scale"]


def test_importing_rayzer_alone_imports_no_torch():
    assert python("import rayzer, sys; print('torch' in sys.modules)") == "False"
    assert python("import rayzer, sys; rayzer.Cameras; print('torch' in sys.modules)") == "True"


def test_importing_rayzer_costs_little_beyond_torch():
    code = "import torch, time; start = time.process_time(); import rayzer; print(time.process_time() - start)"
    assert statistics.median(float(python(code)) for _ in range(3)) < 0.3


def test_the_command_line_answers_without_torch():
    assert python("import sys, rayzer.cli; print('torch' in sys.modules)") == "False"


def test_reports_need_no_torch():
    pages = [path.stem for path in (SOURCE / "report").glob("*.py") if path.stem != "__init__"]
    imports = "; ".join(f"import rayzer.report.{page}" for page in pages)
    assert python(f"{imports}; import sys; print('torch' in sys.modules)") == "False"


def imported(tree: ast.AST, top_only: bool = False) -> set[str]:
    """Dotted names of all modules (or of names in them) that a file imports."""
    names = set()
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name their module in full"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def parts_of_rayzer(names: set[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith("rayzer.")}


def part(path: Path) -> str:
    return path.parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_import_directions(path):
    own = part(path)
    if own in ("__init__", "cli"):
        return
    assert own in MAY_IMPORT, "a new part of the package: say in this table what it may import"
    assert parts_of_rayzer(imported(MODULES[path])) - {own} <= MAY_IMPORT[own]


def test_the_directions_have_no_circle():
    order = []
    remaining = {name: set(allowed) for name, allowed in MAY_IMPORT.items() if name != "__main__"}
    remaining["model"] -= {"configs"}
    while remaining:
        free = [name for name, allowed in remaining.items() if not allowed & remaining.keys()]
        assert free, f"these import one another: {sorted(remaining)}"
        order += free
        for name in free:
            del remaining[name]
    assert order.index("geometry") < order.index("model") < order.index("training") < order.index("viewer")


def test_models_reach_for_configurations_only_when_asked():
    for path, tree in MODULES.items():
        if part(path) == "model":
            assert "configs" not in parts_of_rayzer(imported(tree, top_only=True)), path


def test_losses_and_geometry_stand_alone():
    for path, tree in MODULES.items():
        if part(path) in ("losses", "geometry"):
            third_party = {name.split(".")[0] for name in imported(tree)} - set(sys.stdlib_module_names)
            reading_weights = {"numpy", "scipy"} if path.stem == "pretrained" else set()
            assert third_party <= {"torch", "einops", "rayzer"} | reading_weights, path


FORBIDDEN_CALLS = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "subprocess.getoutput"),
    *("subprocess.getstatusoutput", "pickle.load", "pickle.loads", "pickle.Unpickler", "yaml.load", "yaml.unsafe_load"),
}
FORBIDDEN_MODULES = {"marshal", "shelve", "dill", "cloudpickle", "joblib"}
FORBIDDEN_ARGUMENTS = {("shell", True), ("weights_only", False), ("allow_pickle", True), ("verify", False)}


def dangers(tree: ast.AST) -> list[str]:
    found = sorted({name.split(".")[0] for name in imported(tree)} & FORBIDDEN_MODULES)
    found += sorted(imported(tree) & FORBIDDEN_CALLS)
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = ast.unparse(call.func)
        arguments = {(keyword.arg, getattr(keyword.value, "value", None)) for keyword in call.keywords}
        found += [name] * (name in FORBIDDEN_CALLS)
        found += [f"{key}={value}" for key, value in arguments & FORBIDDEN_ARGUMENTS]
        if name == "torch.load" and ("weights_only", True) not in arguments:
            found.append("torch.load without weights_only=True")
    return found


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_source_has_no_way_to_run_foreign_code(path):
    assert dangers(MODULES[path]) == []


@pytest.mark.parametrize(
    "code",
    [
        "eval(text)",
        "exec(text)",
        "import os\nos.system('ls')",
        "from os import system",
        "import pickle\npickle.load(file)",
        "from pickle import loads",
        "import subprocess\nsubprocess.run('ls', shell=True)",
        "import torch\ntorch.load(path)",
        "import torch\ntorch.load(path, weights_only=False)",
        "import numpy as np\nnp.load(path, allow_pickle=True)",
        "import dill",
    ],
)
def test_the_check_finds_what_is_forbidden(code):
    assert dangers(ast.parse(code))


@pytest.mark.parametrize("code", ["model.eval()", "re.compile(x)", "torch.load(p, weights_only=True)"])
def test_the_check_lets_the_harmless_pass(code):
    assert dangers(ast.parse(code)) == []
