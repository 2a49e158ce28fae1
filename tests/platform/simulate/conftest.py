import pytest

from tessera.platform.simulate.place import Place
from tessera.platform.simulate.plan import Plan


@pytest.fixture
def place(workspace):
    return Place(workspace, Plan(days=6, users=50, visits=20, every=2))
