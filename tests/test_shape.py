"""The shape of the house: floors, the home of each library, the names that are public."""

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import tiktok_following

PACKAGE = Path(tiktok_following.__file__).parent

# From the ground up; a file imports only from floors below its own.
FLOORS = [
    {"_version", "_errors", "_fields", "_frames", "_json"},
    {"_forks", "_store_errors", "_reader", "_status", "_handles", "_config"},
    {"_structure", "_events"},
    {"_models"},
    {"_wire", "_ledger", "_limits", "_lookups", "_outcomes", "_columns"},
    {"_pool", "_deadline", "_turns", "_lock", "_threads"},
    {"_retry", "_throttle", "_sending", "_watch", "_landings"},
    {"_transport", "_call"},
    {"_answers"},
    {"_pipeline", "_pagination", "_schema", "_writer", "_feed", "_outbox", "_tally", "_way"},
    {"_opening", "_engine"},
    {"_store"},
    {"_session", "_export", "_buyer", "_connection"},
    {"_walk"},
    {"_crew"},
    {"_bulk"},
    {"_client"},
    {"__init__", "_loop_thread", "_handle_relay"},
    {"_waiting"},
    {"sync"},
    {"_cli", "pytest_plugin", "otel"},
    {"__main__"},
]
PURE = {
    "_version",
    "_errors",
    "_store_errors",
    "_fields",
    "_frames",
    "_json",
    "_reader",
    "_structure",
    "_status",
    "_handles",
    "_config",
    "_events",
    "_models",
    "_lookups",
    "_outcomes",
    "_columns",
    "_wire",
    "_ledger",
    "_limits",
}
STORE = {"_schema", "_opening", "_writer", "_store", "_session"}
HOMES = {
    "aiohttp": {"_pool", "_sending", "_transport", "_engine", "_client", "sandbox"},
    "yarl": {"_pool", "_transport"},
    "attrs": None,
    "cattrs": {"_structure"},
    "orjson": {"_wire", "_reader", "_json", "sandbox"},
    "tenacity": {"_retry"},
    "typer": {"_cli"},
    "click": {"_cli"},
    "rich": {"_cli"},
    "sqlite3": STORE,
    "pytest": {"pytest_plugin"},
    "opentelemetry": {"otel"},
}


def owner(path: Path) -> str:
    """The module, or the folder that stands for its files."""
    part = path.relative_to(PACKAGE).parts[0]
    return part.removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Every module a file imports, and whether it does so when it runs."""
    tree = ast.parse(path.read_text())
    for_types = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        runs = id(node) not in for_types
        if isinstance(node, ast.Import):
            yield from ((alias.name, runs) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            depth = len(path.relative_to(PACKAGE).parts) - node.level
            base = ["tiktok_following", *path.relative_to(PACKAGE).parts[:depth]]
            module = ".".join([*base, node.module or ""] if node.level else [node.module or ""])
            yield module.rstrip("."), runs
            if not node.module:
                yield from ((f"{module}{alias.name}", runs) for alias in node.names)


FILES = sorted(PACKAGE.rglob("*.py"))
README = Path(__file__).parent.parent / "README.md"


def test_the_readme_names_every_file_on_its_floor() -> None:
    rows = re.findall(r"^\| (\d+) \| ([^|]+) \|", README.read_text(), re.MULTILINE)
    rows = [(floor, re.findall(r"`(\w+)(?:\.py|/)`", files)) for floor, files in rows]
    named = {int(floor): set(files) for floor, files in rows if files}
    assert named == dict(enumerate(FLOORS))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_strictly_down(path: Path) -> None:
    here = owner(path)
    for module, runs in imports(path):
        if not runs or not module.startswith("tiktok_following"):
            continue
        target = [*module.split("."), "__init__"][1]
        if here == "sandbox":
            assert target == "sandbox", f"the sandbox imports {module}"
        elif target not in {here, "sandbox"}:
            assert floor(target) < floor(here), f"{here} imports {module}"


def floor(name: str) -> int:
    return next(number for number, names in enumerate(FLOORS) if name in names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_library_is_imported_only_in_its_home(path: Path) -> None:
    for module, _ in imports(path):
        library = module.split(".")[0]
        if library == "tiktok_following":
            continue
        if library in sys.stdlib_module_names and library not in HOMES:
            continue
        homes = HOMES[library]
        assert homes is None or owner(path) in homes, f"{path.name} imports {library}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_pyarrow_is_imported_only_in_its_home(path: Path) -> None:
    assert ('"pyarrow' in path.read_text()) == (owner(path) == "_export")  # by name, not `import`


@pytest.mark.parametrize("name", sorted(PURE))
def test_a_pure_file_neither_waits_nor_looks_at_the_clock(name: str) -> None:
    tree = ast.parse((PACKAGE / f"{name}.py").read_text())
    assert not any(isinstance(node, ast.Await | ast.AsyncFunctionDef) for node in ast.walk(tree))
    loaded = {module.split(".")[0] for module, _ in imports(PACKAGE / f"{name}.py")}
    assert not loaded & {"asyncio", "time", "random", "socket", "os", "threading", "aiohttp"}
    assert ".now(" not in (PACKAGE / f"{name}.py").read_text()


@pytest.mark.parametrize("name", sorted(STORE))
def test_the_store_does_not_know_the_network(name: str) -> None:
    known = {[*module.split("."), ""][1] for module, _ in imports(PACKAGE / f"{name}.py")}
    assert not known & {"_retry", "_throttle", "_transport", "_pipeline", "_pagination", "_client"}


def test_every_file_stands_on_a_floor() -> None:
    assert {owner(path) for path in FILES} - {"sandbox"} == set().union(*FLOORS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0]
            code = first.end_lineno or 0 if ast.get_docstring(node) else node.lineno
            length = (node.end_lineno or 0) - code
            assert length <= 30 or node.name == "__init__", f"{node.name} has {length} lines"


def test_the_public_names_are_these() -> None:
    names = tiktok_following.__all__
    assert names == sorted(names)
    assert dir(tiktok_following) == names
    for name in names:
        assert getattr(tiktok_following, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Client'"):
        tiktok_following.Client  # noqa: B018 - the look-up is the test


def test_every_error_and_model_is_public() -> None:
    for home in (
        "_errors",
        "_store_errors",
        "_models",
        "_status",
        "_config",
        "_events",
        "_lookups",
        "_outcomes",
    ):
        module = import_module(f"tiktok_following.{home}")
        for name, value in vars(module).items():
            is_own = inspect.isclass(value) and value.__module__ == module.__name__
            if (
                is_own
                and not name.startswith("_")
                and name not in {"Model", "Options", "RunOptions", "ApiKey", "Unchanged"}
            ):
                assert name in tiktok_following.__all__


def test_every_public_name_is_documented() -> None:
    for name in tiktok_following.__all__:
        value = getattr(tiktok_following, name)
        if not inspect.isclass(value):
            continue
        assert inspect.getdoc(value), name
        for method, function in inspect.getmembers(value, inspect.isfunction):
            if not method.startswith("_") and function.__module__.startswith("tiktok_following"):
                assert inspect.getdoc(function), f"{name}.{method}"


def run_python(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_importing_the_package_imports_nothing_it_may_not_need() -> None:
    code = "import sys, tiktok_following; tiktok_following.FollowingClient; print(*sys.modules)"
    loaded = set(run_python(code).split())
    assert not loaded & {
        "typer",
        "rich",
        "sqlite3",
        "pyarrow",
        "aiohttp.web",
        "pytest",
        "opentelemetry",
    }
    assert not any(name.startswith("tiktok_following.sandbox") for name in loaded)


def test_the_pytest_plugin_imports_nothing_before_it_is_used() -> None:
    loaded = set(
        run_python("import sys, tiktok_following.pytest_plugin; print(*sys.modules)").split()
    )
    assert not loaded & {"aiohttp", "cattrs", "orjson", "tenacity", "tiktok_following._client"}


def test_the_version_is_one_of_semver() -> None:
    assert tiktok_following.__version__.count(".") == 2
