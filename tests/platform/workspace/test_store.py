"""Files that machines share: one law for a folder and for an object store."""

from __future__ import annotations

import socket

import pytest

from tessera.contracts.errors import BadParams, TesseraError
from tessera.platform.workspace import bucket as bucket_module
from tessera.platform.workspace.bucket import Bucket
from tessera.platform.workspace.store import Folder
from tessera.platform.workspace.stores import open_store, require_store

SETTING = "TESSERA_EXCHANGE"


@pytest.fixture(params=["folder", "bucket"])
def store(request, tmp_path):
    named = str(tmp_path) if request.param == "folder" else request.getfixturevalue("bucket")
    return open_store(named, SETTING).below("somewhere/deep")


def test_what_is_put_comes_back_under_its_name(store):
    assert store.get("a/x.json") is None
    store.put("a/x.json", b"1")
    store.put("a/x.json", b"2")
    assert store.get("a/x.json").content == b"2"
    assert store.below("a").get("x.json").content == b"2"
    assert store.below("a").below("x.json").address.endswith("somewhere/deep/a/x.json")


def test_names_are_those_of_all_files_but_hidden_ones(store):
    for name in ("b/y", "a/x", ".lock", "a/.z", "c"):
        store.put(name, b"")
    assert store.names() == ["a/x", "b/y", "c"]
    assert store.below("a").names() == ["x"]
    store.remove("a/x")
    store.remove("a/x")
    assert store.names() == ["b/y", "c"]
    assert store.below("nowhere").names() == []


def test_of_two_who_saw_the_same_one_replaces_it(store):
    assert store.replace("current", b"1", None)
    assert not store.replace("current", b"2", None), "somebody was first"
    seen = store.get("current")
    assert store.replace("current", b"3", seen)
    assert not store.replace("current", b"4", seen), "it is another one by now"
    assert store.get("current").content == b"3"
    now = store.get("current")
    store.remove("current")
    assert not store.replace("current", b"5", now), "it is gone"
    assert store.get("current") is None


def test_a_store_that_can_be_used_is_and_nothing_is_left(store):
    if isinstance(store, Folder):
        store.path.mkdir(parents=True)
    require_store(store, SETTING)
    assert store.names() == []


def test_many_objects_are_named_over_several_pages(bucket, monkeypatch):
    store = open_store(bucket, SETTING)
    for number in range(5):
        store.put(f"n{number}", b"")
    pages = store.client.get_paginator
    monkeypatch.setattr(store.client, "get_paginator", lambda verb: _Small(pages(verb)))
    assert store.names() == [f"n{number}" for number in range(5)]


class _Small:
    """A paginator whose pages hold two."""

    def __init__(self, pages):
        self._pages = pages

    def paginate(self, **words):
        return self._pages.paginate(**words, PaginationConfig={"PageSize": 2})


class _Deaf:
    """A server that keeps no conditions."""

    def __init__(self, client, unheard):
        self._client, self._unheard = client, unheard

    def put_object(self, **words):
        heard = {name: value for name, value in words.items() if name != self._unheard}
        return self._client.put_object(**heard)

    def __getattr__(self, name):
        return getattr(self._client, name)


@pytest.mark.parametrize("unheard", ["IfNoneMatch", "IfMatch"])
def test_a_server_that_ignores_conditions_is_refused(bucket, unheard):
    store = open_store(bucket, SETTING)
    deaf = Bucket(_Deaf(store.client, unheard), store.bucket, store.prefix)
    with pytest.raises(BadParams, match="ignores If-None-Match or If-Match, so two runs could"):
        require_store(deaf, SETTING)
    assert not store.client.list_objects_v2(Bucket=store.bucket)["KeyCount"], "nothing is left"


@pytest.mark.parametrize(
    "address", ["s3://", "s3://B", "s3://key:hidden-word@bucket", "s3://bucket/../other",
                "s3://bucket//x", "s3://bucket/a b"],
)  # fmt: skip
def test_what_is_no_address_of_an_object_store_is_one_line(address):
    with pytest.raises(BadParams, match=f"{SETTING} is no address .* write s3://BUCKET") as one:
        open_store(address, SETTING)
    assert "hidden-word" not in str(one.value)


def test_a_bucket_that_is_not_there_is_one_line(bucket):
    with pytest.raises(
        BadParams, match=f"{SETTING}: cannot write .*specified bucket does.*look at AWS_ENDPOINT"
    ):
        require_store(open_store(f"{bucket}-nowhere", SETTING), SETTING)


def test_a_server_that_does_not_answer_is_one_line(bucket, monkeypatch):
    monkeypatch.setattr(bucket_module, "_TRIES", 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:{1}".format(*free.getsockname()))
        with pytest.raises(TesseraError, match="cannot read s3://.*: botocore says 'Could not con"):
            open_store(bucket, SETTING).get("x")


def test_no_key_at_all_is_one_line(bucket, monkeypatch, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(TesseraError, match="botocore says 'Unable to locate credentials'"):
        open_store(bucket, SETTING).get("x")
