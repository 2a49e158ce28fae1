"""The columns of every table, written once: ingest, validation and docs are derived from here."""

from __future__ import annotations

from dataclasses import replace

from tessera.contracts.columns import Column, Table

ACTIONS = ("view", "click", "buy", "sell", "dismiss", "rate")
POSITIVE = ("view", "click", "buy", "rate")
"""What counts as an acquisition where a source has none proper."""
TIME_KINDS = ("exact", "ordinal", "snapshot")
RISK_CLASSES = ("conservative", "income", "balanced", "aggressive")
"""Risk class 1 to 4, lowest first; an unknown investor counts as 1, an unknown item as 4."""

UNEXPLORED = "/greedy"
"""Ending of a policy_id: the budget of exploration was spent before the request, so that nothing
was drawn and no other policy can be judged by it."""


def _id(name: str, doc: str, *, nullable: bool = False) -> Column:
    return Column(name, "string", doc, nullable=nullable)


EVENTS = Table(
    "events",
    "What investors did.  Events of equal time are a set; event_id sorts in source order.",
    (
        _id("event_id", "unique; zero-padded so that it sorts in source order"),
        _id("user_id", "investor"),
        _id("item_id", "item acted upon"),
        Column("action", "string", "what was done", allowed=ACTIONS),
        Column("event_ts", "timestamp", "when it happened"),
        Column("time_kind", "string", "how far event_ts can be trusted", allowed=TIME_KINDS),
        Column("amount_eur", "float64", "value of a trade", nullable=True, floor=0.0),
        Column("units", "float64", "units traded, or the rating of a `rate`", True, None, 0.0),
        _id("channel", "where it was done", nullable=True),
        _id("request_id", "request whose slate led to it", nullable=True),
    ),
    key=("event_id",),
    min_rows=1,
)
ITEMS = Table(
    "items",
    "What can be recommended.",
    (
        _id("item_id", "unique"),
        _id("name", "shown to people"),
        _id("category", "fund, stock, bond, card, loan, or the source's own", nullable=True),
        _id("subcategory", "finer than category", nullable=True),
        _id("sector", "economic sector", nullable=True),
        _id("issuer", "who issues it", nullable=True),
        _id("market_id", "where it trades", nullable=True),
        _id("text", "description for content vectors", nullable=True),
        Column("risk_class", "int64", "1 to 4, unknown counts as 4", True, None, 1, 4),
        Column("valid_from", "timestamp", "first day it could be bought", nullable=True),
        Column("valid_to", "timestamp", "last day it could be bought", nullable=True),
        Column(
            "fee_percent", "float64", "what it costs a year, of what is held", True, None, 0, 100
        ),
    ),
    key=("item_id",),
    min_rows=1,
)
USERS = Table(
    "users",
    "Versions of an investor; join the last one at or before the event, never a later one.",
    (
        _id("user_id", "investor"),
        Column("valid_from", "timestamp", "since when this row is known"),
        Column("risk_class", "int64", "1 to 4, unknown counts as 1", True, None, 1, 4),
        Column("capacity_class", "int64", "investment capacity 1 to 4", True, None, 1, 4),
        _id("segment", "customer type", nullable=True),
    ),
    key=("user_id", "valid_from"),
)
TOLD_USERS = replace(
    USERS,
    doc="Versions of an investor that were told while serving, as the log has them.",
    columns=(
        *USERS.columns,
        Column("holds_from", "timestamp", "since when whoever told it said that it holds"),
    ),
)
"""Of each row `valid_from` is when it was told; a capacity class that is null was not told."""
PRICES = Table(
    "prices",
    "Closes.",
    (
        _id("item_id", "item"),
        Column("price_ts", "timestamp", "day of the close"),
        Column("close_eur", "float64", "closing price", positive=True),
    ),
    key=("item_id", "price_ts"),
)
EXPOSURES = Table(
    "exposures",
    "What was shown, one row a position, with the probability it was shown with.",
    (
        _id("request_id", "the slate"),
        Column("position", "int64", "1 is the top", floor=1),
        _id("user_id", "investor who saw it"),
        _id("item_id", "item shown"),
        Column("event_ts", "timestamp", "when it was shown"),
        _id("policy_id", "policy that chose it"),
        Column("propensity", "float64", "P(item | items above)", False, None, 0, 1, positive=True),
        Column("candidate_ids", "strings", "what could have been shown, same at every position"),
        Column("candidate_propensities", "floats", "P(candidate | items above); 0 if placed above"),
        _id("context_version", "version of features and state it was decided on"),
    ),
    key=("request_id", "position"),
)
OUTCOMES = Table(
    "outcomes",
    "What came of an exposure; joined by request and item inside an attribution window.",
    (
        _id("request_id", "the slate"),
        _id("item_id", "item acted upon"),
        Column("action", "string", "what was done", allowed=ACTIONS),
        Column("value", "float64", "value in EUR, 0 for a click", floor=0.0),
        Column("event_ts", "timestamp", "when it was done"),
    ),
    key=("request_id", "item_id", "action"),
    since="event_ts",
)
LINKS = Table(
    "links",
    "What items are declared to belong to, beside their own columns: edges of a knowledge graph.",
    (
        _id("item_id", "item"),
        _id("relation", "how they belong together, such as country, index or actor"),
        _id("target_id", "what the item belongs to"),
        Column("valid_from", "timestamp", "since when it is known; null = always", nullable=True),
    ),
    key=("item_id", "relation", "target_id"),
    since="valid_from",
)
QUERIES = Table(
    "queries",
    "What investors asked for in words: searches, notes of advice, goals that they declared.",
    (
        _id("query_id", "unique"),
        _id("user_id", "investor"),
        Column("event_ts", "timestamp", "when it was asked"),
        Column("text", "string", "free text of a person", personal=True),
        _id("request_id", "request that answered it", nullable=True),
    ),
    key=("query_id",),
)
QUARANTINE = Table(
    "quarantine",
    "Rows that broke a rule: in = good + quarantined, exactly.",
    (
        _id("table", "table the row was meant for"),
        _id("source_file", "file it came from"),
        Column("source_row", "int64", "1 is the first data row", floor=1),
        _id("reason", "rule that it broke"),
        _id("row", "the row as JSON", nullable=True),
    ),
)
MOST_FALSE_SIGNS = 0.05
"""A sentence that says "cause" needs an edge whose false sign rate is at most this."""
EFFECTS = Table(
    "effects",
    "Causal effect of having acquired `cause` on acquiring `effect` later, events before the cut.",
    (
        _id("cause_id", "item held"),
        _id("effect_id", "item acquired"),
        Column("effect", "float64", "what is believed of the difference in probability"),
        Column("stderr", "float64", "standard deviation of what is believed", floor=0.0),
        Column(
            "false_sign_rate",
            "float64",
            "probability that the effect has not the sign told",
            floor=0.0,
            ceiling=1.0,
        ),
        Column("low", "float64", "lower bound of 95 % of the adjusted difference", floor=-1.0),
        Column("high", "float64", "upper bound of 95 % of the adjusted difference", ceiling=1.0),
        Column("support", "int64", "investors with both", floor=0),
    ),
    key=("cause_id", "effect_id"),
)
DECLARED_COLUMNS, LINK = ("sector", "issuer", "category"), "link"
DECLARED_KINDS = (*DECLARED_COLUMNS, LINK)
"""Kinds of edges from an item to what is declared of it: by its own columns, and by `links`."""
EDGES = Table(
    "edges",
    "Weighted directed edges between items and from items to sectors, issuers, categories.",
    (
        _id("source_id", "item"),
        _id("target_id", "item, or `sector:x`, `issuer:x`, `category:x`, `<relation>:x` of a link"),
        Column(
            "kind",
            "string",
            "where the edge comes from",
            allowed=("co_acquired", "transition", "causal", *DECLARED_KINDS),
        ),
        Column("weight", "float64", "normalised; negative only for causal edges"),
        Column(
            "false_sign_rate",
            "float64",
            "of a causal edge: probability that its sign is wrong",
            nullable=True,
            floor=0.0,
            ceiling=1.0,
        ),
        Column(
            "low",
            "float64",
            "of a causal edge: lower bound of 95 % of the difference, as in effects",
            nullable=True,
            floor=-1.0,
        ),
        Column(
            "high",
            "float64",
            "of a causal edge: upper bound of 95 % of the difference, as in effects",
            nullable=True,
            ceiling=1.0,
        ),
        Column("support", "int64", "investors behind it", floor=0),
    ),
    key=("source_id", "target_id", "kind"),
)
NODES = Table(
    "nodes",
    "Topology of each item in the graph of events before the cut; zeros and is_new for the unseen.",
    (
        _id("item_id", "item"),
        Column("degree", "float64", "neighbours", floor=0.0),
        Column("weighted_degree", "float64", "sum of edge weights", floor=0.0),
        Column("pagerank", "float64", "sums to 1", floor=0.0, ceiling=1.0),
        Column("core_number", "float64", "k-core", floor=0.0),
        Column("clustering", "float64", "triangles closed", floor=0.0, ceiling=1.0),
        Column("community", "int64", "label, -1 if none", floor=-1),
        Column("causal_in", "float64", "sum of causal effects received"),
        Column("causal_out", "float64", "sum of causal effects given"),
        Column("neighbour_degree", "float64", "mean degree of neighbours", floor=0.0),
        Column("neighbour_pagerank", "float64", "mean PageRank of neighbours", floor=0.0),
        Column("is_new", "bool", "no event before the cut"),
    ),
    key=("item_id",),
    min_rows=1,
)
CODES = Table(
    "codes",
    "Semantic ID of each item: one code a level, then a collision suffix.",
    (
        _id("item_id", "item"),
        Column("code", "ints", "one codeword a level, coarse first, suffix last"),
        _id("sid", "the code as text, e.g. 12-7-201-0"),
    ),
    key=("item_id",),
    min_rows=1,
)
ITEM_VECTORS = Table(
    "item_vectors",
    "Vector of each item, of the trunk and the closed forms, L2-normalised.",
    (_id("item_id", "item"), Column("vector", "floats", "unit length")),
    key=("item_id",),
    min_rows=1,
)
USER_VECTORS = Table(
    "user_vectors",
    "Vector of each investor at the end of the known history, L2-normalised.",
    (_id("user_id", "investor"), Column("vector", "floats", "unit length")),
    key=("user_id",),
)
STRANGERS = "_session"
"""Ends the name of a model in `lists` that knew of each investor the last session alone."""
GENERATIVE, TRUNK = "_generative", "_trunk"
"""End the names of lists that the model's generative head decodes, and of the cosine of its trunk
alone, without closed forms, which decoding must beat."""
WALK, BLEND = "_walk", "_blend"
"""End the names of lists by walks along edges, and by all sources that share the places."""
LISTS = Table(
    "lists",
    "Top items for each test investor as of the cut, one model after the other.",
    (
        _id("model", "hstu, or hstu_ and one of session, generative, trunk, walk, blend"),
        _id("user_id", "investor"),
        Column("rank", "int64", "1 is the best", floor=1),
        _id("item_id", "item"),
        Column("score", "float64", "higher is better"),
    ),
    key=("model", "user_id", "rank"),
)
BASELINE_LISTS = Table(
    "baseline_lists",
    "The same of models that learn by gradient beside the trunk; no row where none is asked for.",
    (_id("model", "sasrec or two_tower"), *LISTS.columns[1:]),
    key=LISTS.key,
)
SCORES = Table(
    "scores",
    "Scores of the candidate and the champion for the candidate set of each request after the cut.",
    (
        _id("request_id", "the slate"),
        Column("candidate_ids", "strings", "as in exposures"),
        Column("candidate_scores", "floats", "of the model just trained"),
        Column(
            "candidate_chances",
            "floats",
            "its probability of a click or a purchase at the top; null without a ranking head",
            nullable=True,
        ),
        Column("champion_scores", "floats", "of the published model; null if v0", nullable=True),
    ),
    key=("request_id",),
)
CATE = Table(
    "cate",
    "Out-of-fold effect of being shown an item on the probability of acquiring it.",
    (
        _id("request_id", "the slate"),
        _id("item_id", "candidate item"),
        Column("shown", "bool", "was it shown"),
        Column("effect", "float64", "estimated effect", floor=-1.0, ceiling=1.0),
    ),
    key=("request_id", "item_id"),
)
CATE_LATER = Table(
    "cate_later",
    "Effect of being shown on requests after the cut, by what was learnt before it.",
    (
        _id("request_id", "the slate"),
        _id("item_id", "candidate item"),
        Column("effect", "float64", "estimated effect", floor=-1.0, ceiling=1.0),
    ),
    key=("request_id", "item_id"),
)
TABLES = {
    table.name: table
    for table in (
        EVENTS,
        ITEMS,
        USERS,
        PRICES,
        EXPOSURES,
        OUTCOMES,
        LINKS,
        QUERIES,
        QUARANTINE,
        EFFECTS,
        EDGES,
        NODES,
        CODES,
        ITEM_VECTORS,
        USER_VECTORS,
        LISTS,
        BASELINE_LISTS,
        SCORES,
        CATE,
        CATE_LATER,
    )
}
