"""Commands as a person types them."""

from __future__ import annotations

import sys

import pytest

from tessera.platform.cli import cli


@pytest.fixture
def say(monkeypatch, capsys, root):
    """Type a command in the repository of the test; return exit code, output and errors."""
    monkeypatch.setenv("TESSERA_ROOT", str(root))

    def typed(*words):
        monkeypatch.setattr(sys, "argv", ["tessera", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capsys.readouterr()
        return ended.value.code or 0, told.out, told.err

    return typed
