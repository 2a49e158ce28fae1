"""Files that machines share: one law for a folder and for an object store."""

from __future__ import annotations

import os
import socket
from dataclasses import replace

import pytest
from botocore.exceptions import ClientError

from tessera.contracts.errors import BadParams, TesseraError
from tessera.platform.workspace import bucket as bucket_module
from tessera.platform.workspace import store as store_module
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


def test_a_file_of_any_size_goes_in_and_comes_out_by_its_path(store, tmp_path):
    made, back = tmp_path / "made", tmp_path / "back"
    made.write_bytes(b"0123456789" * 1_000_000)  # more than a part
    assert store.size("a/b") is None
    assert not store.download("a/b", back)
    assert not back.exists()
    store.upload(made, "a/b")
    assert store.size("a/b") == 10_000_000
    assert store.download("a/b", back)
    assert back.read_bytes() == made.read_bytes()
    assert store.names() == ["a/b"]
    made.write_bytes(b"")
    store.upload(made, "a/b")
    assert (store.size("a/b"), store.get("a/b").content) == (0, b"")


def test_a_file_that_would_fill_the_memory_is_not_read(store, monkeypatch):
    monkeypatch.setattr(store_module, "LARGEST", 9)
    store.put("x", b"123456789")
    assert store.get("x").content == b"123456789"
    store.put("x", b"1234567890")
    with pytest.raises(TesseraError, match="/x holds 10 bytes, and ours at most 9: remove it"):
        store.get("x")


def test_what_lies_in_place_of_a_file_of_a_folder_is_read_by_nobody_and_said_in_a_line(tmp_path):
    store, kept = Folder(tmp_path / "place"), tmp_path / "kept"
    store.put("one", b"1")
    kept.write_bytes(b"of somebody else")
    (tmp_path / "place" / "link").symlink_to(kept)
    (tmp_path / "place" / "endless").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "place" / "waits")
    for name in ("link", "endless", "waits", "one/below"):
        with pytest.raises(TesseraError, match="place/(link|endless|waits|one/below)") as error:
            store.get(name)
        assert "\n" not in str(error.value)
    assert not store.download("link", tmp_path / "taken")


def test_a_guard_that_is_a_link_is_not_followed(tmp_path):
    store, kept = Folder(tmp_path / "place"), tmp_path / "kept"
    store.put("one", b"1")
    kept.write_bytes(b"of somebody else")
    (tmp_path / "place" / ".guard").symlink_to(kept)
    with pytest.raises(TesseraError, match="cannot write .*guard"):
        store.replace("one", b"2", store.get("one"))
    assert kept.read_bytes() == b"of somebody else"
    assert store.get("one").content == b"1"


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


class _Other:
    """A server that takes writes otherwise."""

    def __init__(self, client, put):
        self._client, self._put = client, put

    def put_object(self, **words):
        return self._put(self._client.put_object, words)

    def __getattr__(self, name):
        return getattr(self._client, name)


def _deaf_to(condition):
    return lambda put, words: put(**{n: value for n, value in words.items() if n != condition})


def _refuses(condition, code):
    def put(put, words):
        if condition in words:
            raise ClientError({"Error": {"Code": code}}, "PutObject")
        return put(**words)

    return put


@pytest.mark.parametrize(
    "put",
    [
        _deaf_to("IfNoneMatch"),
        _deaf_to("IfMatch"),
        _refuses("IfMatch", "PreconditionFailed"),
        _refuses("IfNoneMatch", "NotImplemented"),
    ],
)
def test_a_server_without_conditional_writes_is_refused(bucket, put):
    store = open_store(bucket, SETTING)
    other = replace(store, client=_Other(store.client, put))
    with pytest.raises(BadParams, match="does not keep If-None-Match and If-Match, so two runs"):
        require_store(other, SETTING)
    assert not store.client.list_objects_v2(Bucket=store.bucket)["KeyCount"], "nothing is left"


def test_a_write_whose_answer_was_lost_was_written_all_the_same(bucket):
    """The client tries again, and meets its own write."""

    def twice(put, words):
        put(**words)
        return put(**words)

    store = open_store(bucket, SETTING)
    lossy = replace(store, client=_Other(store.client, twice))
    assert lossy.replace("current", b"1", None)
    assert not lossy.replace("current", b"2", None)


@pytest.mark.parametrize(
    "address", ["s3://", "s3://B", "gs://bucket/x", "S3://bucket", "s3://key:hidden-word@bucket", "s3://bucket/../other",
                "s3://bucket//x", "s3://bucket/a b"],
)  # fmt: skip
def test_what_is_no_address_of_an_object_store_is_one_line(address):
    with pytest.raises(BadParams, match=f"{SETTING} is no address .* write s3://BUCKET") as one:
        open_store(address, SETTING)
    assert "hidden-word" not in str(one.value)


def test_a_bucket_that_is_not_there_is_one_line(bucket):
    with pytest.raises(
        BadParams, match=f"{SETTING}: cannot list .*specified bucket does.*look at AWS_ENDPOINT"
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
