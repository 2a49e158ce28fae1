"""A store in S3, or in what speaks as S3 does (MinIO, Ceph, Garage ...).

Who asks and where the server is say the variables that AWS's own programs read
(`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_ENDPOINT_URL` ...); DVC reads the same.  What is
replaced on a condition needs a server that keeps conditional writes (`If-Match`, `If-None-Match`):
one that does not know them would let two win, so it is tried before it is believed.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from tessera.contracts.errors import BadParams, TesseraError
from tessera.contracts.library_errors import translate_errors
from tessera.platform.workspace.store import Stored, require_small

_FORM = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])((?:/[\w%=+-][\w.%=+-]*)*)/?", re.ASCII)
_ABSENT = ("NoSuchKey", "404")
_TOO_LATE = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
_UNKNOWN = "NotImplemented"
_PROBE = ".probe"
_REMEDY = (
    "look at AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, and what this key may do"
)
_WAIT_S = 5
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Bucket:
    """Objects of a bucket whose keys begin alike."""

    client: Any
    bucket: str
    prefix: str
    """Without a slash at its ends; may be empty."""

    @property
    def address(self) -> str:
        """URL as DVC takes it."""
        return f"s3://{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")

    def below(self, part: str) -> Bucket:
        """Return the objects under a part of names."""
        return replace(self, prefix=self._key(part))

    def require(self) -> None:
        """Refuse a bucket where not all can be done that a store does.

        Raises
        ------
        TesseraError
            If it is not there, may not be read, written or listed, or keeps no conditions.
        """
        name, nobody = f"{_PROBE}-{secrets.token_hex(4)}", Stored(b"", '"no such tag"')
        with self._asked("list", ""):  # one of them: the exchange holds all artifacts
            self.client.list_objects_v2(Bucket=self.bucket, Prefix=self._below, MaxKeys=1)
        self.put(name, b"1")
        try:
            kept = (
                not self.replace(name, b"2", None)
                and not self.replace(name, b"3", nobody)
                and self.replace(name, b"4", self.get(name))
            )
        finally:
            self.remove(name)
        if not kept:
            raise self._no_conditions()

    def _no_conditions(self) -> TesseraError:
        return TesseraError(
            f"{self.address} does not keep If-None-Match and If-Match, so two runs could both take "
            "what one may have: use an object store with conditional writes"
        )

    def get(self, name: str) -> Stored | None:
        """Read an object."""
        with self._asked("read", name):
            try:
                found = self.client.get_object(Bucket=self.bucket, Key=self._key(name))
                require_small(self.below(name).address, found["ContentLength"])
                return Stored(found["Body"].read(), found["ETag"])
            except ClientError as error:
                if _code(error) in _ABSENT:
                    return None
                raise

    def put(self, name: str, content: bytes) -> None:
        """Write an object, which is seen whole or not at all."""
        with self._asked("write", name):
            self.client.put_object(Bucket=self.bucket, Key=self._key(name), Body=content)

    def replace(self, name: str, content: bytes, seen: Stored | None) -> bool:
        """Write an object on the condition that it is as it was seen."""
        condition = {"IfMatch": seen.tag} if seen else {"IfNoneMatch": "*"}
        with self._asked("write", name):
            try:
                self.client.put_object(
                    Bucket=self.bucket, Key=self._key(name), Body=content, **condition
                )
            except ClientError as error:
                if _code(error) == _UNKNOWN:
                    raise self._no_conditions() from error
                if _code(error) in _TOO_LATE or (seen and _code(error) in _ABSENT):
                    return self._is(name, content)
                raise
        return True

    def _is(self, name: str, content: bytes) -> bool:
        """Tell whether it was written after all: where an answer is lost the client tries again."""
        now = self.get(name)
        return now is not None and now.content == content

    def size(self, name: str) -> int | None:
        """Ask for its head."""
        with self._asked("read", name):
            try:
                found = self.client.head_object(Bucket=self.bucket, Key=self._key(name))
            except ClientError as error:
                if _code(error) in _ABSENT:
                    return None
                raise
        return int(found["ContentLength"])

    def upload(self, path: Path, name: str) -> None:
        """Send it, a large one in parts."""
        with self._asked("write", name):
            self.client.upload_file(str(path), self.bucket, self._key(name))

    def download(self, name: str, path: Path) -> bool:
        """Fetch it, a large one in parts; what is there under this name is replaced at the end."""
        with self._asked("read", name):
            try:
                self.client.download_file(self.bucket, self._key(name), str(path))
            except ClientError as error:
                if _code(error) in _ABSENT:
                    return False
                raise
        return True

    def names(self) -> list[str]:
        """Name all objects but those that are hidden."""
        with self._asked("list", ""):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self._below
            )
            found = [one["Key"].removeprefix(self._below) for page in pages for one in
                     page.get("Contents", ())]  # fmt: skip
        return sorted(
            one for one in found if not any(part.startswith(".") for part in one.split("/"))
        )

    def remove(self, name: str) -> None:
        """Remove an object."""
        with self._asked("remove", name):
            self.client.delete_object(Bucket=self.bucket, Key=self._key(name))

    @property
    def _below(self) -> str:
        """How all keys begin."""
        return f"{self.prefix}/" if self.prefix else ""

    def _key(self, name: str) -> str:
        return f"{self._below}{name}"

    @contextmanager
    def _asked(self, verb: str, name: str) -> Iterator[None]:
        where = self.below(name).address if name else self.address
        with translate_errors(TesseraError, f"cannot {verb} {where}", _REMEDY):
            yield


def open_bucket(address: str, setting: str) -> Bucket:
    """Return the store at `s3://BUCKET/PREFIX`; nothing is asked yet.

    Raises
    ------
    BadParams
        If it is no such address.  The line does not repeat it: it may hold a key.
    """
    if not (found := _FORM.fullmatch(address)):
        raise BadParams(
            f"{setting} is no address of an object store: write s3://BUCKET/PREFIX in letters, "
            "digits, dots, dashes and (in the prefix) underscores; keys come from the environment"
        )
    retries = {"max_attempts": _TRIES, "mode": "standard"}
    settings = Config(connect_timeout=_WAIT_S, retries=retries)
    with translate_errors(TesseraError, f"{setting} cannot be opened", _REMEDY):
        client = boto3.Session().client("s3", config=settings)
    return Bucket(client, found[1], found[2].strip("/"))


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
