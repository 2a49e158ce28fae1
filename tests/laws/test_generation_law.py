"""The name of a generation of codes outlives new params: a code once given stays."""

import pytest
from pydantic import create_model

from tessera.stages.sid import ledger
from tessera.stages.sid.params import FIRST, LATER, READ_BY, SidParams

AS_PUBLISHED = {
    "quantizer": "rkmeans", "levels": 3, "codebook_size": None, "generation": 0,
    "text_encoder": "tfidf", "text_width": 64, "vocabulary": 20_000, "content_weight": 1.0,
    "neighbourhood_weight": 0.5, "topology_weight": 0.2, "iterations": 50, "epochs": 150,
    "batch_size": 1024, "hidden": 128, "latent": 32, "learning_rate": 0.001, "commitment": 0.25,
    "codeword_decay": 0.95, "dead_below": 1.0, "seed": 0,
}  # fmt: skip
"""Params of ledgers that were published before fields had a value they were born with."""
TURNED = {
    "quantizer": "rqvae",
    "levels": 4,
    "codebook_size": 64,
    "text_encoder": "minilm",
    "acquired": ("view",),
    "least_rating": 4.0,
    "balanced": True,
    "coarse_blocks": ("topology",),
}
"""A value unlike the one born with, for fields that are not numbers or have a least value."""

Grown = create_model("Grown", __base__=SidParams, rotation=(float, 0.0))


@pytest.fixture
def born(monkeypatch):
    """Write down a field that was added, with the value it was born with."""

    def write(**values):
        monkeypatch.setattr(ledger, "LATER", {**LATER, **values})

    return write


def test_every_field_is_written_down_once():
    assert SidParams.model_fields.keys() <= {*FIRST, *LATER}, "add the new field to LATER"
    assert not FIRST.keys() & LATER.keys()


def test_ledgers_published_before_keep_their_codes():
    """Names worked out when all params were hashed as they are."""
    assert ledger.fingerprint(SidParams(**AS_PUBLISHED)) == "f8c5f2c97f5d"
    other = {"quantizer": "rqvae", "codebook_size": 64, "generation": 2, "commitment": 0.5}
    published = SidParams(**{**AS_PUBLISHED, **other, "text_encoder": "minilm"})
    assert ledger.fingerprint(published) == "38851ad2b129"


def test_a_field_with_the_value_it_was_born_with_changes_no_code(born):
    born(rotation=0.0)
    assert ledger.fingerprint(Grown()) == ledger.fingerprint(SidParams())
    assert ledger.fingerprint(Grown(seed=3)) == ledger.fingerprint(SidParams(seed=3))


def test_a_default_that_moves_takes_the_codes_with_it_not_those_who_keep_the_old_value(born):
    born(rotation=1.0)
    assert ledger.fingerprint(Grown()) != ledger.fingerprint(SidParams())
    assert ledger.fingerprint(Grown(rotation=1.0)) == ledger.fingerprint(SidParams())


def test_a_new_field_that_is_turned_starts_a_generation(born):
    born(rotation=0.0)
    names = {ledger.fingerprint(Grown(rotation=turn)) for turn in (0.0, 0.1, 0.2)}
    assert len(names) == 3


@pytest.mark.parametrize("name", SidParams.model_fields)
def test_every_field_that_is_turned_starts_a_generation(name):
    value = getattr(SidParams(), name)
    turned = TURNED[name] if name in TURNED else value * 0.99 if value % 1 else int(value) + 1
    plain = SidParams().model_dump()
    if name in READ_BY:  # read by some blocks alone
        plain |= dict.fromkeys(READ_BY[name], 1.0)
    before, after = (
        SidParams.model_construct(**{**plain, **turn}) for turn in ({}, {name: turned})
    )
    assert ledger.fingerprint(after) != ledger.fingerprint(before)


@pytest.mark.parametrize("name", READ_BY)
def test_a_fact_of_the_data_that_no_block_reads_changes_no_code(name):
    turned = SidParams.model_construct(**{**SidParams().model_dump(), name: TURNED[name]})
    assert ledger.fingerprint(turned) == ledger.fingerprint(SidParams())


def test_a_field_without_the_value_it_was_born_with_is_refused():
    with pytest.raises(KeyError, match="rotation"):
        ledger.fingerprint(Grown())


def test_a_field_struck_from_the_first_table_is_seen(monkeypatch):
    monkeypatch.setattr(ledger, "FIRST", {k: v for k, v in FIRST.items() if k != "seed"})
    with pytest.raises(KeyError, match="seed"):
        ledger.fingerprint(SidParams())
