"""What is too large, too deep, too slow or of no known key does not come in; others see nothing."""

from __future__ import annotations

import json
import socket
import ssl
import time
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tessera.contracts.errors import BadParams
from tessera.serve.clock import Clock
from tessera.serve.http import keys as keys_module
from tessera.serve.http import patient
from tessera.serve.http.app import make_app
from tessera.serve.http.depth import MOST_CONTAINERS, MOST_DEPTH, check_depth
from tessera.serve.http.door import MOST_HEADER_BYTES
from tessera.serve.http.keys import Keys, add_key
from tessera.serve.http.listen import Address
from tessera.serve.http.problems import Refused


def raw(client, *pieces, wait_s=0.0):
    """Send bytes as they are; return what comes back until the line is closed."""
    where = (client.base_url.host, client.base_url.port)
    with socket.create_connection(where, timeout=10) as line:
        for piece in pieces:
            line.sendall(piece)
            time.sleep(wait_s)
        answer = b""
        while more := line.recv(65536):
            answer += more
    return answer


def test_headers_are_bounded_together(client):
    fits = {f"x-{n}": "y" * 1000 for n in range(14)}
    assert client.get("/v1/version", headers=fits).status_code == 200
    for more in ({"x-more": "y" * 3000}, {f"x-more-{n}": "" for n in range(400)}):
        answer = client.get("/v1/version", headers=fits | more)
        assert answer.status_code == 431
        assert answer.json()["title"] == "Header too large"
    assert client.get(f"/v1/items/{'x' * MOST_HEADER_BYTES}/similar").status_code == 431


def test_a_head_without_end_is_cut_off(client):
    bomb = b"GET /healthz HTTP/1.1\r\nhost: x\r\n" + b"x: y\r\n" * 20_000
    answer = raw(client, bomb)
    assert answer.startswith(b"HTTP/1.1 431 ")
    assert json.loads(answer.rpartition(b"\r\n\r\n")[2])["request_id"].encode() in answer
    assert client.get("/healthz").status_code == 200


def test_who_connects_and_sends_nothing_is_hung_up_on(client, monkeypatch):
    monkeypatch.setattr(patient, "PATIENCE_S", 0.2)
    assert raw(client) == b""
    assert raw(client, b"GET /healthz HT", b"TP/1.1\r\nho") == b""


def test_drops_do_not_lengthen_the_wait(client, monkeypatch):
    monkeypatch.setattr(patient, "PATIENCE_S", 0.3)
    start = b"GET /healthz HTTP/1.1\r\n"
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        raw(client, start, *[b"x: y\r\n"] * 40, wait_s=0.05)


def test_who_was_answered_in_time_may_send_more_later(client, monkeypatch):
    monkeypatch.setattr(patient, "PATIENCE_S", 0.3)
    for _ in range(3):
        assert client.get("/healthz").status_code == 200
        time.sleep(0.4)


def test_connections_are_bounded_and_say_when_to_come_again(client, monkeypatch):
    assert client.get("/healthz").status_code == 200  # one that is kept
    monkeypatch.setattr(patient, "MOST_CONNECTIONS", 1)
    answer = raw(client)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1\r\n" in answer
    assert client.get("/healthz").status_code == 200


def test_what_is_no_http_is_a_problem_with_an_id(client):
    answer = raw(client, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in answer
    assert b"x-request-id: " in answer


@pytest.mark.parametrize(
    "body",
    [b"[" * (MOST_DEPTH + 1), b'{"a":' * (MOST_DEPTH + 1), b"[{" * MOST_DEPTH,
     b"[" + b"{}," * MOST_CONTAINERS + b"{}]", b'"' + b'\\"' * 100 + b'"' + b"[" * 17],
    ids=["lists", "objects", "both", "many", "behind a string"],
)  # fmt: skip
def test_a_body_may_be_so_deep_and_hold_so_much(body):
    with pytest.raises(Refused):
        check_depth(body)


@pytest.mark.parametrize(
    "body",
    [b"[" * MOST_DEPTH + b"]" * MOST_DEPTH, b"{}" * (MOST_CONTAINERS), b'"' + b"[" * 5000 + b'"',
     b'{"a": "' + b'[\\"[' * 500 + b'"}', b'"' + b"{" * 100, b'"' + b"{" * 100 + b"\\", b""],
    ids=["deep", "many", "in a string", "quoted in a string", "open string", "escape", "empty"],
)  # fmt: skip
def test_brackets_in_strings_are_no_depth(body):
    check_depth(body)


def test_depth_is_told_in_one_pass():
    """A search that begins anew at each quote takes time by the square: hours for this one."""
    with pytest.raises(Refused):
        check_depth(b"[" * 20 + b'"' + b'\\"' * 500_000)


def test_what_is_too_deep_is_a_problem_over_http_too(client):
    for path in ("/v1/recommendations", "/v1/events"):
        answer = client.post(path, content=b"[" * 100_000)
        assert answer.status_code == 422
        assert "deep" in answer.json()["detail"] or "lists" in answer.json()["detail"]


def test_faults_are_told_briefly_whatever_was_sent(client):
    body = {"investor_id": "u", **{f"{'x' * 500}{n}": 1 for n in range(500)}}
    errors = client.post("/v1/recommendations", json=body).json()["errors"]
    assert len(errors) == 20
    assert max(len(one["field"]) for one in errors) == 128


def test_half_a_surrogate_is_a_problem_and_no_fault_of_ours(client):
    headers = {"content-type": "application/json"}
    for body in (b'{"investor_id": "\\ud800"}', b'{"\\ud800": 1, "investor_id": "u"}'):
        answer = client.post("/v1/recommendations", content=body, headers=headers)
        assert answer.status_code == 422


def test_every_known_key_is_compared_whichever_it_is(tmp_path, monkeypatch):
    path, seen = tmp_path / "keys.json", []
    secrets = [add_key(path, name, "viewer") for name in "abc"]

    def compared(one, other):
        seen.append(one)
        return one == other

    monkeypatch.setattr(keys_module.hmac, "compare_digest", compared)
    keys = Keys(path)
    for secret in (*secrets, "unknown"):
        seen.clear()
        keys.find(secret)
        assert len(seen) == 3


@pytest.mark.parametrize("name", ["", "a b", "a\nINFO forged", "x" * 65, "é", "../a"])
def test_a_name_that_would_forge_lines_of_the_log_is_refused(tmp_path, name):
    with pytest.raises(BadParams, match="cannot be named"):
        add_key(tmp_path / "keys.json", name, "viewer")


def test_a_session_ends_with_its_key(client, keys, log_in):
    with httpx.Client(base_url=client.base_url, trust_env=False) as browser:
        assert log_in(browser, add_key(keys, "ann", "viewer")).status_code == 303
        assert "Log out" in browser.get("/console").text
        add_key(keys, "bob", "viewer")
        assert "Log out" in browser.get("/console").text
        add_key(keys, "ann", "viewer")
        assert "Log out" not in browser.get("/console").text


def test_a_cookie_is_for_the_server_and_this_site_alone(client, keys, log_in):
    with httpx.Client(base_url=client.base_url, trust_env=False) as browser:
        answer = log_in(browser, add_key(keys, "ann", "viewer"))
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "; secure" not in cookie
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "server" not in answer.headers
    assert "access-control-allow-origin" not in answer.headers


@pytest.fixture
def pair(tmp_path):
    """A certificate for this machine, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tessera")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    paths = tmp_path / "cert.pem", tmp_path / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )  # fmt: skip
    return paths


def test_behind_tls_cookies_are_secure_and_nothing_goes_in_the_clear(
    service, keys, pair, listen, log_in
):
    address = Address("127.0.0.1", 8000, *pair).checked()
    app = make_app(service, Clock(), Keys(keys), secure=address.secure)
    with listen(app, address) as port:
        trusted = ssl.create_default_context(cafile=pair[0])
        base = f"https://127.0.0.1:{port}"
        with httpx.Client(base_url=base, verify=trusted, trust_env=False) as browser:
            answer = log_in(browser, add_key(keys, "ann", "viewer"))
            assert browser.get("/v1/version").status_code == 401
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False)
    assert "; secure" in answer.headers["set-cookie"].lower()
    assert "max-age" in answer.headers["strict-transport-security"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "tessera.example"])
def test_other_machines_are_listened_to_only_behind_tls_or_by_insisting(host, pair):
    with pytest.raises(BadParams, match="--certificate and --private-key, or --without-tls"):
        Address(host).checked()
    assert Address(host).checked(without_tls=True).host == host
    assert Address(host, 1, *pair).checked().secure


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_this_machine_needs_no_tls(host):
    assert not Address(host).checked().secure


def test_half_a_pair_or_none_is_refused_in_one_line(pair, tmp_path):
    (tmp_path / "empty").write_text("")
    for certificate, key in (
        (pair[0], None), (None, pair[1]), pair[::-1], (pair[0], pair[0]),
        (pair[0], tmp_path / "no"), (tmp_path / "empty", pair[1]),
    ):  # fmt: skip
        with pytest.raises(BadParams) as told:
            Address("127.0.0.1", 8000, certificate, key).checked()
        assert "\n" not in str(told.value)
