"""What is left out of collections goes all the same once nobody holds it."""

from __future__ import annotations

import gc
import weakref

import pytest

from tessera.serve.garbage import release, settle


class Node:
    """An object that holds itself."""

    def __init__(self):
        self.me = self


@pytest.fixture(autouse=True)
def thawed():
    yield
    gc.unfreeze()


def test_a_cycle_that_was_left_out_goes_at_the_next_swap():
    node = Node()
    gone = weakref.ref(node)
    settle()
    assert gc.get_freeze_count() > 0
    del node
    gc.collect()
    assert gone() is not None, "collections do not look at it"
    settle()
    assert gone() is None


def test_at_the_end_nothing_is_left_out():
    settle()
    assert gc.get_freeze_count() > 0
    release()
    assert gc.get_freeze_count() == 0
