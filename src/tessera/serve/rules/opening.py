"""Which rules choose, by what a person turned."""

from __future__ import annotations

import pyarrow as pa

from tessera.serve.params import ServeParams
from tessera.serve.rules.choosing import Rule
from tessera.serve.rules.diversity import Diverse
from tessera.serve.rules.issuers import PerIssuer
from tessera.serve.rules.kinds import ATTRIBUTES, kinds
from tessera.shared.policies.slate import SlatePolicy


def open_rules(items: pa.Table, params: ServeParams, policy: SlatePolicy) -> tuple[Rule, ...]:
    """Return the rules that are on, in the order in which they choose; the last gives way first."""
    rules: list[Rule] = []
    if params.per_issuer is not None:
        issuer_I = kinds(items)[ATTRIBUTES.index("issuer")]
        rules.append(PerIssuer(issuer_I, params.per_issuer))
    if params.diversity:
        rules.append(Diverse(kinds(items), params.diversity, policy))
    return tuple(rules)
