"""What takes minutes begins first, so that the processes of `make test` end together."""

from __future__ import annotations

from types import SimpleNamespace

import pytest


@pytest.fixture
def conftest(request):
    plugins = request.config.pluginmanager.get_plugins()
    return next(one for one in plugins if hasattr(one, "LONGEST"))


def test_the_longest_files_begin_and_the_others_stay_in_order(conftest, repository):
    asked = ["a/test_b.py", "airflow/test_c.py", "e2e/test_d.py", "e2e/test_default_market.py",
             "b/test_a.py"]  # fmt: skip
    items = [SimpleNamespace(path=repository / "tests" / name) for name in asked]
    conftest.pytest_collection_modifyitems(items)
    found = [item.path.relative_to(repository / "tests").as_posix() for item in items]
    assert found == [asked[3], asked[2], asked[1], asked[0], asked[4]]


def test_those_files_are_there_and_the_order_is_kept(conftest, repository):
    assert [name for name in conftest.LONGEST if not (repository / "tests" / name).exists()] == []
    assert "--dist loadfile --no-loadscope-reorder" in (repository / "Makefile").read_text()
