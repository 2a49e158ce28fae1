"""Every named system of the field that this house speaks of: built or not, on or off, against what.

The only place where a system is named; `docs/systems.md` is rendered from it and from
`benchmarks/results`.  What is not built has a name, a source and a capability alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CORE = "a recommender that learns, ranks and is judged"
CODES = "semantic IDs that can be trusted"
RANKING = "ranking that knows funnels, rejections and trade-offs"
RECALL = "recall from graphs, behaviours and other business lines"
ADVICE = "language and advice, without a language model"
ITSELF = "the repository improves itself, under the gate"
CAPABILITIES = (CORE, CODES, RANKING, RECALL, ADVICE, ITSELF)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Where a result stands in `benchmarks/results`.

    Paths lead from the figures of the file to numbers, keys with `/` between; `*` is every seed.
    """

    world: str
    """What it was measured on: a profile, or the data of the benchmark."""
    figure: str
    """What was measured; more is better."""
    results: str
    """File without its `.json`."""
    on: str
    """Path of the figure with the system; without `off` of an interval: value, low and high."""
    off: str = ""
    """Path of the same figure with the rival."""


@dataclass(frozen=True, slots=True)
class System:
    """One line of the register."""

    name: str
    source: str
    """Words that the docstring of the module says too."""
    capability: str
    """One of `CAPABILITIES`."""
    module: str | None = None
    """What implements it; None as long as nothing does."""
    switch: Mapping[str, Any] = field(default_factory=dict)
    """Params that turn it on; none if it cannot be off."""
    rival: Mapping[str, Any] = field(default_factory=dict)
    """Params of the simpler thing that it must beat; none where both are always computed."""
    against: str = ""
    """That simpler thing, in words."""
    law: str | None = None
    """Test that holds it to what it claims."""
    evidence: tuple[Evidence, ...] = ()
    decision: str | None = None
    """Why it is on by default, where no result says so: a file of `docs/decisions`."""
    missing: str = ""
    """What of the source is not there, of a system that is."""
    studied: bool = False
    """Measured beside the product, by a benchmark: no param turns it on."""


def _quality(world: str, results: str, on: str, off: str) -> Evidence:
    models = "seeds/*/models"
    return Evidence(world, "nDCG@10", results, f"{models}/{on}/ndcg_10", f"{models}/{off}/ndcg_10")


def _ablated(without: str) -> tuple[Evidence, ...]:
    """Evidence of a part that is on: everything, and everything but it."""
    return _trained("everything", without)


def _added(part: str) -> tuple[Evidence, ...]:
    """Evidence of a part that is off: everything and it, and everything."""
    return _trained(f"with {part}", "everything")


def _trained(on: str, off: str) -> tuple[Evidence, ...]:
    figures = {
        "nDCG@10, validation": "hstu_validation_ndcg_at_10",
        "click AUC after the cut": "rank_auc_click",
    }
    return tuple(
        Evidence("market", words, "ablation", f"{on}/*/{name}", f"{off}/*/{name}")
        for words, name in figures.items()
    )


def _decoded(words: str, figure: str) -> Evidence:
    models = "seeds/*/with/models"
    on, off = f"{models}/hstu_generative/{figure}", f"{models}/hstu_trunk/{figure}"
    return Evidence("small markets", words, "generate", on, off)


def _read_by(words: str, figure: str) -> Evidence:
    on, off = (f"seeds/*/{name}/{figure}" for name in ("prefix", "codewords"))
    return Evidence("small markets", words, "item_inputs", on, off)


def _retrieved(source: str) -> tuple[Evidence, ...]:
    """Evidence of a source of candidates beside vectors alone, as the service asks them."""
    figures = {
        "acquisitions found": "all/recall",
        "cold ones found": "cold/recall",
        "nDCG@10 of cold items": "cold/ndcg_10",
        "warm ones found": "warm/recall",
    }
    start = "seeds/*/sources"
    return tuple(
        Evidence(
            "small markets", words, "sources", f"{start}/{source}/{one}", f"{start}/dense/{one}"
        )
        for words, one in figures.items()
    )


def _weighed(words: str, figure: str, rival: str = "codewords") -> Evidence:
    on, off = (f"seeds/*/{name}/{figure}" for name in ("net", rival))
    return Evidence("small markets", words, "item_shares", on, off)


def _told(words: str, beside: str, way: str, rival: str, figure: str = "auc") -> Evidence:
    """Evidence of what a ranker is told of investors, beside few features or all of them."""
    on, off = (f"seeds/*/{beside}/ways/{name}/{figure}" for name in (way, rival))
    return Evidence("small markets", words, "investor_codes", on, off)


def _bridged(words: str, way: str, rival: str, part: str = "all") -> Evidence:
    """Evidence of what tells of a click behind a query."""
    on, off = (f"seeds/*/auc/{name}/{part}" for name in (way, rival))
    return Evidence("small markets", words, "query_codes", on, off)


_FEATURES = ("user", "item", "pair", "price", "graph", "causal", "sid", "cate")


def _coded(words: str, figure: str, kind: str = "topology", rival: str = "text") -> Evidence:
    on, off = (f"seeds/*/{codes}/models/{figure}" for codes in (kind, rival))
    return Evidence("small markets", words, "sid_worth", on, off)


def _learnt(
    words: str, figure: str, kind: str, rival: str = "default", world: str = "small markets"
) -> Evidence:
    """Evidence of codes that a trunk has learnt, or that were learnt with its decoder."""
    on, off = (f"seeds/*/{codes}/models/{figure}" for codes in (kind, rival))
    results = "joint_index" if world == "small markets" else "joint_index_far-trans-2020"
    return Evidence(world, words, results, on, off)


_REAL = {"movielens-100k": "movielens-100k", "far-trans-2020": "far-trans"}
"""Sets of real data on which codes were measured with several seeds -> what they are called."""


def _decoded_for_real() -> tuple[Evidence, ...]:
    models = "seeds/*/default/models"
    on, off = f"{models}/hstu_generative/ndcg_10", f"{models}/hstu_trunk/ndcg_10"
    return tuple(
        Evidence(world, "nDCG@10", f"codes_real_{name}", on, off) for name, world in _REAL.items()
    )


def _coded_for_real(kind: str = "topology", more: str = "") -> tuple[Evidence, ...]:
    """Evidence of codes beside those of text alone, on real data."""
    figures = {"decoded lists": "hstu_generative", "what is published": "hstu"}
    return tuple(
        Evidence(
            world, f"nDCG@10 of {words}{more}", f"codes_real_{name}",
            *(f"seeds/*/{codes}/models/{model}/ndcg_10" for codes in (kind, "text")),
        )
        for name, world in _REAL.items()
        for words, model in figures.items()
    )  # fmt: skip


def _quantized(kind: str, rival: str = "default") -> tuple[Evidence, ...]:
    """Evidence of codes by another quantizer, beside those that are on by default."""
    figures = {
        "nDCG@10 of decoded lists": "hstu_generative/ndcg_10",
        "nDCG@10 of what is published": "hstu/ndcg_10",
    }
    return tuple(_coded(words, figure, kind, rival) for words, figure in figures.items())


_BUILT = (
    System(
        "HSTU", "arXiv 2402.17152", CORE, "tessera.model.nn.layer",
        rival={"hstu.sasrec": True}, against="SASRec, same loss and budget",
        law="tests/laws/test_sequence_model_law.py",
        evidence=(_quality("movielens", "quality_movielens", "hstu", "sasrec"),
                  _quality("amazon", "quality_beauty", "hstu", "sasrec")),
    ),
    System(
        "EASE beside the trunk", "arXiv 1905.03375", CORE, "tessera.shared.features.conditional",
        {"hstu.item_weights_width": 64}, {"hstu.item_weights_width": 0}, "the trunk alone",
        "tests/model/trunk/test_item_weights.py",
        _ablated("item weights")[:1],  # the head that it is not part of cannot change
    ),
    System(
        "Two towers with logQ", "Yi et al. 2019", CORE, "tessera.model.baselines.two_tower",
        {"hstu.two_tower": True}, {"hstu.two_tower": False}, "popularity",
        "tests/model/baselines/test_two_tower.py",
        (_quality("amazon", "quality_beauty", "two_tower", "popularity"),
         _quality("movielens", "quality_movielens", "two_tower", "popularity")),
        missing="traits of users",
    ),
    System(
        "Matrix factorisation (ALS)", "Hu, Koren and Volinsky 2008", CORE,
        "tessera.stages.evaluate.baselines", against="popularity",
        law="tests/stages/evaluate/test_baselines.py",
        decision="0015-fair-tables.md",
    ),
    System(
        "DLRM and Wide & Deep", "arXiv 1906.00091", CORE, "tessera.model.baselines.rankers",
        {"hstu.rankers": True}, {"hstu.rankers": False}, "the ranking head",
        "tests/model/baselines/test_rankers.py",
        (Evidence("market", "click AUC after the cut", "rankers",
                  "seeds/*/rank_auc_click_wide_deep", "seeds/*/rank_auc_click"),),
    ),
    System(
        "Thompson sampling with a budget", "Chapelle and Li", CORE,
        "tessera.shared.policies.exploration",
        {"synth.explorer": "thompson"}, {"synth.explorer": "epsilon_greedy"}, "epsilon-greedy",
        "tests/shared/policies/test_exploration.py",
    ),
    System(
        "Doubly robust for slates", "arXiv 2202.01562", CORE, "tessera.offpolicy.estimators",
        against="inverse propensity", law="tests/laws/test_estimator_law.py",
        decision="0007-the-mean-lift-is-bounded-at-every-look.md",
    ),
    System(
        "Betting confidence sequence", "arXiv 2010.09686", CORE, "tessera.offpolicy.sequences",
        against="fixed-n bounds", law="tests/laws/test_estimator_law.py",
        decision="0007-the-mean-lift-is-bounded-at-every-look.md",
    ),
    System(
        "Meta-learners of uplift", "arXiv 1706.03461", CORE, "tessera.stages.uplift.learner",
        {"uplift.learner": "x"}, {}, "the same effect for everybody",
        "tests/stages/uplift/test_learner.py",
        (Evidence("Hillstrom, women's e-mail", "Qini", "uplift",
                  "tables/women/rows/x_learner/qini"),
         Evidence("Hillstrom, men's e-mail", "Qini", "uplift", "tables/men/rows/x_learner/qini")),
    ),
    System(
        "Causal edges by double machine learning", "arXiv 1608.00060", CORE,
        "tessera.stages.causal.robust",
        {"hstu.features": _FEATURES},
        {"hstu.features": tuple(name for name in _FEATURES if name != "causal")},
        "features without them", "tests/stages/causal/test_robust.py",
        _ablated("feature: causal"), decision="0012-causal-edges.md",
    ),
    System(
        "UniPinRec's hidden actions", "arXiv 2606.00422", CORE, "tessera.model.nn.masking",
        {"hstu.mask_weight": 0.1}, {"hstu.mask_weight": 0.0}, "actions shown",
        "tests/model/test_pretraining.py",
        (*_ablated("hidden actions"),
         Evidence("planted", "slate AUC", "acceptance",
                  "seeds/*/joint/auc", "seeds/*/joint_without_mask/auc")),
    ),
    System(
        "SORT's query pruning", "arXiv 2603.03988", CORE, "tessera.model.nn.ranking",
        {"hstu.rank_blocks": 1}, {"hstu.rank_blocks": 2}, "candidates through all layers",
        "tests/model/nn/test_ranking.py", _ablated("query pruning"),
        missing="normed queries and keys, attention gate, special tokens, experts",
    ),
    System(
        "MARS", "arXiv 2606.03718", CORE, "tessera.model.nn.recency",
        {"hstu.recency_scales": 3}, {"hstu.recency_scales": 0}, "no decay",
        "tests/model/nn/test_recency.py", _added("recency"),
        missing="divergence penalty, encoder chosen by length",
    ),
    System(
        "Semantic IDs", "arXiv 2305.05065", CODES, "tessera.stages.sid.quantizer",
        {"hstu.use_codes": True}, {"hstu.use_codes": False}, "item embeddings alone",
        "tests/laws/test_quantizer_law.py", _ablated("semantic codes"),
    ),
    System(
        "TIGER's decoder", "arXiv 2305.05065", CODES, "tessera.model.nn.generative",
        {"hstu.generate": True}, {"hstu.generate": False}, "the cosine of the same trunk",
        "tests/laws/test_generative_law.py",
        (_decoded("nDCG@10", "ndcg_10"), _decoded("Recall@50", "recall_50"),
         _decoded("nDCG@10 of cold items", "cold_ndcg_10"),
         Evidence("small markets", "nDCG@10 of what is published, head or none", "generate",
                  "seeds/*/with/models/hstu/ndcg_10", "seeds/*/without/models/hstu/ndcg_10"),
         *_decoded_for_real()),
    ),
    System(
        "PrefixMem", "arXiv 2606.00324", CODES, "tessera.model.nn.prefix_memory",
        {"hstu.item_input": "prefix"}, {"hstu.item_input": "codewords"}, "the sum of codewords",
        "tests/model/nn/test_prefix_memory.py",
        (_read_by("nDCG@10", "ndcg_10"), _read_by("nDCG@10 of cold items", "cold_ndcg_10"),
         _read_by("click AUC of slates", "auc_click")),
        missing="pre-training on the next codeword",
    ),
    System(
        "GateSID", "arXiv 2603.22916", CODES, "tessera.model.nn.own_share",
        {"hstu.item_input": "weighed", "hstu.own_share": "net"},
        {"hstu.item_input": "codewords"}, "the plain sum of an item's own vector and its codes",
        "tests/model/nn/test_own_share.py",
        (_weighed("nDCG@10", "ndcg_10"), _weighed("nDCG@10 of cold items", "cold_ndcg_10"),
         _weighed("click AUC of slates", "auc_click"),
         _weighed("nDCG@10, against n / (n + k)", "ndcg_10", "shrink"),
         _weighed("click AUC of slates, against n / (n + k)", "auc_click", "shrink")),
        missing="attention shared by both kinds of vectors, InfoNCE between them",
    ),
    System(
        "DRQ diagnostics", "arXiv 2606.01844", CODES, "tessera.shared.codes.noise",
        {"ope.min_sid_told_apart": 0.5}, {"ope.min_sid_told_apart": 0.0},
        "perplexity and collisions", "tests/stages/ope/test_code_health.py",
        (Evidence("planted codebooks", "rank correlation with the items that keep their code",
                  "sid_health", "ranked/*/noise", "ranked/*/perplexity"),),
        decision="0045-codes-under-noise.md",
    ),
    System(
        "RQ-VAE", "Zeghidour et al. 2021", CODES, "tessera.stages.sid.quantizers.rqvae",
        {"sid.quantizer": "rqvae"}, {"sid.quantizer": "rkmeans"}, "residual k-means",
        "tests/laws/test_quantizer_law.py", _quantized("rqvae"),
    ),
    System(
        "Topology in codes", "structured topology", CODES,
        "tessera.stages.sid.blocks.near_behaviour",
        {"sid.near_behaviour_weight": 1.0, "sid.structure_weight": 0.3, "sid.content_weight": 0.3},
        {"sid.near_behaviour_weight": 0.0, "sid.structure_weight": 0.0, "sid.content_weight": 1.0},
        "codes of text alone", "tests/stages/sid/test_blocks.py",
        (_coded("nDCG@10 of decoded lists", "hstu_generative/ndcg_10"),
         _coded("nDCG@10 of the trunk alone", "hstu_trunk/ndcg_10"),
         _coded("nDCG@10 of what is published", "hstu/ndcg_10"),
         _coded("nDCG@10 of cold items, decoded", "hstu_generative/cold_ndcg_10"),
         _coded("nDCG@10 of decoded lists, topology at level 1 alone", "hstu_generative/ndcg_10",
                "topology at level 1"),
         _coded("nDCG@10 of what is published, topology at level 1 alone", "hstu/ndcg_10",
                "topology at level 1"),
         *_coded_for_real(),
         *_coded_for_real("topology at level 1", ", topology at level 1 alone")),
    ),
    System(
        "RQ-FSQ", "arXiv 2606.01396", CODES, "tessera.stages.sid.quantizers.rq_fsq",
        {"sid.quantizer": "rq_fsq"}, {"sid.quantizer": "rkmeans"}, "residual k-means",
        "tests/laws/test_quantizer_law.py", _quantized("rq_fsq"),
    ),
    System(
        "HDE", "arXiv 2606.01396", CODES, "benchmarks.investor_ranker",
        against="the dense vector of an investor, at 1/77 of its bits",
        law="tests/model/test_investor_codes.py",
        evidence=(
            _told("click AUC, few other features", "few", "rq_fsq", "dense"),
            _told("click AUC, all other features", "all", "rq_fsq", "dense"),
            _told("click AUC of codes decoded, few other features", "few", "decoded", "dense"),
            _told("click AUC against nothing, few other features", "few", "rq_fsq", "none"),
            _told("click AUC against nothing, all other features", "all", "rq_fsq", "none"),
        ),
        missing="tables of prefixes, a group of ranking features", studied=True,
    ),
    System(
        "DSIRM", "arXiv 2606.04374", CODES, "benchmarks.query_bridge",
        against="the dense vectors of the same training",
        law="tests/stages/sid/test_query_codes.py",
        evidence=(
            _bridged("AUC of a click behind a query", "dense, codes", "dense"),
            _bridged("the same, new phrasings", "dense, codes", "dense", "new"),
            _bridged("dense vectors of the training, against text and mean query",
                     "dense", "text, mean query"),
        ),
        missing="quantizer and contrast learnt together, a language model that decodes, a group "
        "of ranking features", studied=True,
    ),
    System(
        "DGI", "arXiv 2603.10409", CODES, "benchmarks.joint_index",
        against="codes of content and graph, frozen",
        law="tests/model/test_joint_index.py",
        evidence=(
            _learnt("nDCG@10 of decoded lists", "hstu_generative/ndcg_10", "joint"),
            _learnt("nDCG@10 of what is published", "hstu/ndcg_10", "joint"),
            _learnt("nDCG@10 of decoded lists, against codes of the trunk's vectors",
                    "hstu_generative/ndcg_10", "joint", "own vectors, codes read"),
            _learnt("nDCG@10 of decoded lists, soft forcing alone",
                    "hstu_generative/ndcg_10", "soft forcing"),
        ),
        missing="losses between an item's vector and its codewords, InfoNCE of query and item, "
        "entropy of the codewords", studied=True,
    ),
    System(
        "Codes of a trunk's vectors", "decision 61", CODES, "benchmarks.trunk_codes",
        against="codes of content and graph",
        law="tests/model/test_joint_index.py",
        evidence=(
            _learnt("nDCG@10 of decoded lists, of a trunk without codes",
                    "hstu_generative/ndcg_10", "own vectors"),
            _learnt("nDCG@10 of what is published, of a trunk without codes",
                    "hstu/ndcg_10", "own vectors"),
            _learnt("nDCG@10 of decoded lists, of a trunk that reads codes",
                    "hstu_generative/ndcg_10", "own vectors, codes read"),
            _learnt("nDCG@10 of what is published, of a trunk that reads codes",
                    "hstu/ndcg_10", "own vectors, codes read"),
            _learnt("nDCG@10 of decoded lists, of a trunk that reads codes",
                    "hstu_generative/ndcg_10", "own vectors, codes read", world="far-trans"),
            _learnt("nDCG@10 of what is published, of a trunk that reads codes",
                    "hstu/ndcg_10", "own vectors, codes read", world="far-trans"),
        ),
        studied=True,
    ),
    System(
        "DRQ", "arXiv 2606.01844", CODES, "tessera.stages.sid.quantizers.drq",
        {"sid.quantizer": "drq"}, {"sid.quantizer": "rkmeans"}, "residual k-means",
        "tests/laws/test_quantizer_law.py", _quantized("drq"),
        missing="clusters within each prefix",
    ),
    System(
        "TopoTok", "arXiv 2607.18600", CODES, "tessera.stages.sid.rqvae",
        {"sid.quantizer": "rqvae", "sid.order_pull": 0.003},
        {"sid.quantizer": "rqvae", "sid.order_pull": 0.0}, "RQ-VAE",
        "tests/stages/sid/test_learnt_from_links.py", _quantized("rqvae, order kept", "rqvae"),
        missing="orders between groups, then within",
    ),
    System(
        "Walks by pushing", "Andersen, Chung and Lang 2006", RECALL, "tessera.shared.push",
        {"serve.shares": {"walk": 1.0}}, {"serve.shares": {"dense": 1.0}}, "vectors alone",
        "tests/shared/test_push.py", _retrieved("walk"),
    ),
    System(
        "Codes that are retrieved", "decision 47", RECALL, "tessera.serve.retrievers.generated",
        {"serve.shares": {"generated": 1.0}}, {"serve.shares": {"dense": 1.0}}, "vectors alone",
        "tests/laws/test_retriever_law.py", _retrieved("generated"),
    ),
    System(
        "Retriever Portfolios", "arXiv 2605.31176", RECALL, "tessera.serve.mix",
        {"serve.shares": {"dense": 0.875, "content": 0.125}}, {"serve.shares": {"dense": 1.0}},
        "vectors alone", "tests/serve/test_mix.py", _retrieved("blend_all"),
        missing="the router: places are shared, as one list has one budget",
    ),
)  # fmt: skip

_NOT_BUILT = {
    CODES: {
        "Shallow-RHS": "arXiv 2606.06225",
    },
    RANKING: {
        "HPRO": "arXiv 2606.04387", "POPO": "arXiv 2606.03866", "R3": "arXiv 2606.03565",
        "CDNet": "arXiv 2603.12578", "MGDIN": "arXiv 2603.12586", "BAHSD": "arXiv 2606.03091",
    },
    RECALL: {
        "SpectraMB": "arXiv 2606.02417",
        "SCALR": "arXiv 2606.00282", "RGCD-Rep": "arXiv 2606.04448",
        "SaFeAU": "arXiv 2605.31414", "TDPM": "arXiv 2606.01670", "MeRa": "metric-space reasoning",
    },
    ADVICE: {
        "BEATS": "arXiv 2606.04909", "DCRC": "arXiv 2605.31064", "DynaTree": "arXiv 2605.31377",
        "V-SPLADE": "arXiv 2605.30917", "Shopping Companion": "arXiv 2603.14864",
        "Cold-EQS": "arXiv 2603.22922", "OneReason": "arXiv 2606.06260",
        "Taiji's rationales": "arXiv 2606.03866", "TAP-PER": "arXiv 2606.04547",
    },
    ITSELF: {
        "AutoModel": "arXiv 2603.26085", "AgenticRS": "arXiv 2603.26100",
        "Ensemble-Decoupled Search": "arXiv 2603.20014",
    },
}  # fmt: skip

SYSTEMS = (
    *_BUILT,
    *(
        System(name, source, capability)
        for capability, found in _NOT_BUILT.items()
        for name, source in found.items()
    ),
)
"""All of them, capability by capability."""
