"""What was started here is watched."""

import pytest

from tessera.contracts.errors import TesseraError
from tessera.platform.servers import started


def test_a_server_that_ends_by_itself_is_named_with_its_log(tmp_path, monkeypatch):
    monkeypatch.setattr(started.processes, "command", lambda name: f"/bin/{name}")
    (tmp_path / "logs").mkdir()
    servers = []
    started.start_server("false", ("x",), {}, tmp_path, servers)
    servers[0].process.wait()
    with pytest.raises(TesseraError, match=r"false x ended by itself: see .*false-x\.log"):
        started.require_alive(servers)
