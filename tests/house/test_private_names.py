"""What we use of a library beyond its public interface: listed here, and missed by name.

A new version may take any of these away without a word in its notes.  A name that is gone says
which pin of pyproject.toml to look at.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import re
import warnings
from importlib.metadata import version
from pkgutil import resolve_name
from typing import NamedTuple

import pytest


class Private(NamedTuple):
    """One name of a library, and where and how we write it."""

    name: str
    file: str
    written: str

    @property
    def library(self):
        return self.name.partition(".")[0]


def _of(file, *names):
    """Names that the file writes as they end."""
    return [Private(name, f"src/tessera/{file}", name.rpartition(".")[2]) for name in names]


PRIVATE = (
    *_of("model/nn/linear.py", "torch._C._has_mkldnn", "torch.ops.mkldnn._linear_pointwise"),
    *_of("model/nn/attention.py", "torch.ops.aten.silu_backward.grad_input"),
    *_of("model/trainer/loop.py", "torch._foreach_lerp_", "torch._foreach_mul_"),
    *_of(
        "model/training/compiled.py",
        "torch._inductor.cpp_builder.get_cpp_compiler",
        "torch._inductor.exc.InvalidCxxCompiler",
    ),
    *_of("platform/pipeline/forkserver.py", "torch._dynamo"),
    *_of(
        "stages/monitor/report.py",
        "evidently.legacy.renderers.html_widgets.CounterData",
        "evidently.legacy.renderers.html_widgets.counter",
    ),
    *_of(
        "platform/validation/validation.py",
        "great_expectations.execution_engine.pandas_execution_engine.HASH_THRESHOLD",
    ),
    *_of("platform/pipeline/dvc_files.py", "dvc.repo.Repo.site_cache_dir"),
    Private("dvc.rwlock.RWLOCK_FILE", "src/tessera/platform/pipeline/dvc_files.py", "rwlock"),
    Private("dvc.schema.COMPILED_LOCKFILE_SCHEMA", "src/tessera/platform/pipeline/dvc_files.py",
            "_SCHEMA"),
    *(
        Private(f"mlflow.store.{name}", "src/tessera/platform/tracking/peek.py", table)
        for name, table in (
            ("tracking.dbmodels.models.SqlTag", "tags"),
            ("tracking.dbmodels.models.SqlRun", "runs"),
            ("model_registry.dbmodels.models.SqlRegisteredModelAlias", "registered_model_aliases"),
            ("model_registry.dbmodels.models.SqlModelVersionTag", "model_version_tags"),
        )
    ),
)  # fmt: skip


def _is_there(name):
    parts = name.split(".")
    for k in range(len(parts) - 1, 0, -1):
        with contextlib.suppress(ImportError, AttributeError):
            resolve_name(f"{'.'.join(parts[:k])}:{'.'.join(parts[k:])}")
            return True
    return False


def missing(names):
    """Which names no library here has; asked of a fork, since half of it is imported already."""
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        code = 1
        try:
            warnings.simplefilter("ignore")
            gone = [name for name in names if not _is_there(name)]
            os.write(write, json.dumps(gone).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(write)
    with os.fdopen(read) as told:
        gone = told.read()
    assert os.waitpid(child, 0)[1] == 0
    return json.loads(gone)


def test_every_private_name_is_still_there(repository):
    pins = (repository / "pyproject.toml").read_text()
    gone = missing([one.name for one in PRIVATE] + ["torch._no_such_name"])
    assert gone.pop() == "torch._no_such_name"
    told = []
    for one in (one for one in PRIVATE if one.name in gone):
        package = one.library.replace("_", "-")
        found = re.search(rf'"({re.escape(package)}[=<>][^"]*)"', pins)
        pin = found[1] if found else package
        line = f"{one.name} is gone from {package} {version(package)}: look at the pin {pin}"
        told.append(f"{line}, then at {one.file}")
    assert not told, "\n".join(told)


@pytest.mark.parametrize("one", PRIVATE, ids=lambda one: one.name)
def test_every_private_name_is_still_used(one, repository):
    text = (repository / one.file).read_text()
    assert re.search(rf"\b{re.escape(one.written)}\b", text), "strike it from the list"


def private_names(text):
    """Dotted names of libraries in a module of which a part begins with an underscore or legacy."""
    tree = ast.parse(text)
    libraries, found = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            libraries |= {alias.asname or alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.module.startswith("tessera"):
            libraries |= {alias.asname or alias.name for alias in node.names}
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            name = ast.unparse(node)
            if name.partition(".")[0] in libraries and re.fullmatch(r"[\w.]+", name):
                found.add(name)
    hidden = re.compile(r"\.(_(?!_)\w|legacy\b)")
    columns = ("ibis._.", "_.")  # of a table that is not named
    return {name for name in found if hidden.search(name) and not name.startswith(columns)}


def test_no_other_private_name_is_used(repository):
    listed = {one.name for one in PRIVATE} | {"os._exit"}
    for path in [*repository.glob("src/**/*.py"), *repository.glob("[dt]a[gs]*/*.py")]:
        for name in private_names(path.read_text()):
            known = any(one == name or one.startswith(f"{name}.") for one in listed)
            assert known, f"{path.relative_to(repository)}: {name} is private: list it in PRIVATE"


def test_a_private_name_is_seen():
    text = "import torch\nfrom a._b import c\nfrom d.legacy import e\ntorch.x._y(1)\ntorch.z\n"
    text += "import ibis\nibis._._column\n"
    assert private_names(text) == {"a._b.c", "d.legacy.e", "torch.x._y"}
