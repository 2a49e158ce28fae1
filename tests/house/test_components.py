"""Each kind of component takes one more by one module, one line of its law and one of its params.

A toy stands in a folder of its own, which the package of its kind is told of for one test.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import subprocess
import sys
from dataclasses import replace
from typing import Literal, NamedTuple, get_args

import faiss
import numpy as np
import pyarrow.parquet as pq
import pytest
from pydantic import BaseModel
from scipy import sparse

from tessera.bundles.indexes import kinds
from tessera.bundles.indexes.flat import Flat
from tessera.bundles.vectors import Search
from tessera.contracts import components
from tessera.contracts.errors import BadInput, BadParams
from tessera.model.params import FeatureGroup, HstuParams
from tessera.offpolicy.estimators import SLATE_ESTIMATORS
from tessera.platform.workspace.code import SOURCE, import_closure
from tessera.serve.retrieval import RETRIEVERS, first_heard, open_retrievers
from tessera.serve.shelf import Shelf
from tessera.shared.features.facts import Facts, Queries, Trials
from tessera.shared.features.links import EDGE_KINDS
from tessera.shared.features.prices import PriceHistory
from tessera.shared.features.ranking import ranking_features
from tessera.stages.ingest.params import IngestParams
from tessera.stages.ope.estimates import lifts_of
from tessera.stages.ope.guardrails import GUARDRAILS, GuardrailInputs, guardrails
from tessera.stages.ope.params import OpeParams
from tessera.stages.ope.verdict import Check
from tessera.stages.report import words
from tessera.stages.sid.params import SidParams
from tessera.stages.sid.quantizer import fit_quantizer, load_quantizer
from tessera.stages.sid.vectors import Catalogue, fit_space, vectorise

QUANTIZERS = "tessera.stages.sid.quantizers"
BLOCKS = "tessera.stages.sid.blocks"
GROUPS = "tessera.shared.features.groups"
SOURCES = "tessera.stages.ingest.sources"
RETRIEVER_KIND = "tessera.serve.retrievers"


@pytest.fixture
def plug(tmp_path, monkeypatch):
    """Add a module to a kind."""

    def add(kind, name, code):
        package = importlib.import_module(kind)
        (tmp_path / f"{name}.py").write_text(code)
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
        importlib.invalidate_caches()
        monkeypatch.setitem(sys.modules, f"{kind}.{name}", None)  # restored: gone after the test
        del sys.modules[f"{kind}.{name}"]
        return package

    return add


@pytest.fixture
def law(repository, monkeypatch):
    """Open a law suite, to hold a toy to it."""

    def opened(name, folder="laws"):
        spec = importlib.util.spec_from_file_location(
            name, repository / "tests" / folder / f"{name}.py"
        )
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)  # its dataclasses look themselves up
        spec.loader.exec_module(module)
        return module

    return opened


def choices(params, field):
    return sorted(get_args(params.model_fields[field].annotation))


def test_an_unknown_component_is_one_line_that_names_the_known_ones():
    with pytest.raises(
        BadParams, match=r"quantizers has no 'rkmean': choose one of drq, minibatch"
    ):
        components.component(QUANTIZERS, "rkmean")
    with pytest.raises(BadParams, match="choose one of"):
        components.component(QUANTIZERS, "..params")


def test_what_a_component_lacks_is_not_taken_for_the_component(plug):
    plug(QUANTIZERS, "toy", "import nothing_of_this_name\n")
    with pytest.raises(ModuleNotFoundError, match="nothing_of_this_name"):
        components.component(QUANTIZERS, "toy")


def test_a_stage_depends_on_every_component_that_it_could_find():
    """Nobody imports them by name, and an edit of one must run the stage again."""
    closure = import_closure("tessera.stages.sid.stage")
    for name in components.names(QUANTIZERS):
        path = f"{QUANTIZERS}.{name}".replace(".", "/") + ".py"
        assert path in closure
        assert (SOURCE / path).exists()
    assert "tessera/stages/sid/rqvae.py" in closure, "and on what they import"


TOY_QUANTIZER = """
from dataclasses import replace
from tessera.stages.sid.quantizers import rkmeans

def fit(vector_ND, size, params, linked_NN):
    stretched_ND = params.toy.stretch * vector_ND
    return replace(rkmeans.fit(stretched_ND, size, params, linked_NN), name="toy")

def load(arrays):
    return replace(rkmeans.load(arrays), name="toy")
"""


def test_a_quantizer_is_a_module(plug, law, rng):
    class Toy(BaseModel):
        stretch: float = 1.0

    class Params(SidParams):
        quantizer: Literal["rkmeans", "rqvae", "toy"] = "rkmeans"
        toy: Toy = Toy()

    with pytest.raises(BadInput, match="unknown quantizer toy"):
        load_quantizer("toy", {})
    plug(QUANTIZERS, "toy", TOY_QUANTIZER)
    suite = law("test_quantizer_law")
    suite.QUANTIZERS["toy"] = Params(quantizer="toy", codebook_size=8)
    world = suite.planted(np.random.default_rng(11))
    found = fit_quantizer(world[0], suite.QUANTIZERS["toy"])
    assert found.name == "toy"
    suite.test_learns_the_planted_clusters_coarse_first(found, world)
    suite.test_same_seed_same_bytes(found, world)
    suite.test_survives_the_round_trip_through_arrays(found, world)
    suite.test_no_future_the_code_of_an_item_does_not_depend_on_who_comes_with_it(found, world, rng)
    wide = Params(quantizer="toy", codebook_size=8, toy=Toy(stretch=2.0))
    other = fit_quantizer(world[0], wide)
    assert not np.allclose(other.codeword_LKD, found.codeword_LKD), "its own params reach it"


def test_every_quantizer_has_a_choice_and_a_law(law):
    known = components.names(QUANTIZERS)
    assert choices(SidParams, "quantizer") == known
    assert sorted(law("test_quantizer_law").QUANTIZERS) == known


TOY_BLOCK = """
import numpy as np
from tessera.stages.sid.scaling import by_direction as scale

def rows(catalogue, content_NW):
    return np.array([[len(item)] for item in catalogue.item_ids], dtype=float)
"""


def plain_catalogue():
    return Catalogue(
        item_ids=["a", "bbb", "cc"],
        terms_N=[["fund", "green"], ["fund", "bond"], ["loan"]],
        sentence_N=["", "", ""],
        topology_NT=np.array([[1.0, 2.0, 1.0, 0.0], [3.0, 1.0, 1.0, 0.5], [np.nan] * 4]),
        neighbour_NN=sparse.csr_array((3, 3)),
    )


def test_a_block_of_the_item_vector_is_a_module(plug):
    class Params(SidParams):
        toy_weight: float = 0.0

    plain = plain_catalogue()
    of_old = vectorise(plain, fit_space(plain, SidParams()), SidParams())
    assert np.array_equal(vectorise(plain, fit_space(plain, Params()), Params()), of_old), "off"
    with pytest.raises(BadParams, match="blocks has no 'toy': choose one of behaviour, content"):
        fit_space(plain, Params(toy_weight=2.0))
    plug(BLOCKS, "toy", TOY_BLOCK)
    more = vectorise(plain, fit_space(plain, Params(toy_weight=2.0)), Params(toy_weight=2.0))
    assert np.array_equal(more[:, :-1], of_old)
    assert more[:, -1] == pytest.approx(2.0 * np.array([-1, 1, 0]) / np.sqrt(2 / 3))


def test_every_block_has_a_weight():
    weights = [name for name in SidParams.model_fields if name.endswith("_weight")]
    assert sorted(name.removesuffix("_weight") for name in weights) == components.names(BLOCKS)


TOY_GROUP = """
def columns(facts, asked):
    return {"toy_twice": 2.0 * asked.item_Q}
"""


def test_a_group_of_ranking_features_is_a_module(plug):
    class Params(HstuParams):
        features: tuple[Literal["pair", "toy"], ...] = ("pair", "toy")

    facts = no_facts()
    asked = Queries(np.array([0]), np.array([5]), np.array([0, 0]), np.array([1, 2]))
    with pytest.raises(BadParams, match="groups has no 'toy': choose one of cate, causal"):
        ranking_features(facts, asked, Params().features)
    plug(GROUPS, "toy", TOY_GROUP)
    names, found = ranking_features(facts, asked, Params().features)
    assert names[-2:] == ("pair_rates", "toy_twice")
    assert found[:, -1].tolist() == [2.0, 4.0]


def no_facts():
    """Facts of a log without any event, on three items."""
    none, items = np.zeros(0, np.int64), np.zeros(3, np.int64)
    closes = PriceHistory(none, none, none.astype(float))
    nobody = Trials(none, none, none, none.astype(float))
    return Facts(
        *(none,) * 7, items, items, items, code_IL=np.zeros((3, 2), np.int64), closes=closes,
        edges={kind: sparse.csr_matrix((3, 3)) for kind in EDGE_KINDS}, trials=nobody,
    )  # fmt: skip


def test_every_group_has_a_choice_and_what_is_served_depends_on_each():
    known = components.names(GROUPS)
    assert sorted(get_args(FeatureGroup)) == known
    closure = import_closure("tessera.serve.recommend")
    assert {f"tessera/shared/features/groups/{name}.py" for name in known} <= set(closure)


@pytest.fixture
def case(law):
    """Two items, shown alike; the candidate prefers the first, which earns more."""
    rng = np.random.default_rng(5)
    chosen_N = rng.integers(0, 2, 400)
    suite = law("test_guardrails", "stages/ope")
    drawn = suite.case_of(np.array([0.8, 0.2]), chosen_N, np.zeros(400, bool), np.arange(400))
    reward_NL = (rng.random((400, 1)) < np.where(chosen_N == 0, 0.6, 0.2)[:, None]).astype(float)
    return replace(drawn, log=replace(drawn.log, reward_NL=reward_NL))


def toy_estimator(log, ceiling):
    """Weigh as IPS does, with weights cut at the ceiling."""
    return (np.minimum(log.weight_NL, ceiling) * log.reward_NL).sum(axis=1)


def test_an_estimator_is_a_function_and_a_line(case, law, monkeypatch):
    guess_NLC = np.zeros(case.log.served_NLC.shape)
    before, _ = lifts_of(case, guess_NLC, OpeParams(ceiling=10_000.0))
    monkeypatch.setitem(SLATE_ESTIMATORS, "toy", toy_estimator)
    found, _ = lifts_of(case, guess_NLC, OpeParams(ceiling=10_000.0))
    assert [*found] == [*before, "toy"]
    assert np.array_equal(found["toy"], found["rips"]), "no weight is above the ceiling"
    cut, _ = lifts_of(case, guess_NLC, OpeParams(ceiling=1.0))
    assert cut["toy"].mean() < cut["rips"].mean(), "its param reaches it"
    suite = law("test_estimator_law")
    suite.test_an_estimator_of_slates_finds_the_truth_when_all_help_is_right("toy")


def toy_guardrail(case, _beside, params):
    rate = float(case.log.reward_NL.mean())
    return [Check("toy_rate", rate, params.min_rate, rate >= params.min_rate, "it earns little")]


def test_a_guardrail_is_a_function_and_a_line(case, monkeypatch):
    class Params(OpeParams):
        min_rate: float = 0.9

    before = [check.name for check in guardrails(case, GuardrailInputs(), Params())]
    monkeypatch.setitem(GUARDRAILS, "toy", toy_guardrail)
    found = guardrails(case, GuardrailInputs(), Params())
    assert [check.name for check in found] == [*before, "toy_rate"]
    assert found[-1].ok is False
    assert guardrails(case, GuardrailInputs(), Params(min_rate=0.1))[-1].ok is True


def test_every_estimator_and_guardrail_is_told_in_words(case):
    for name in SLATE_ESTIMATORS:
        assert words.ESTIMATORS[name]
        assert words.NOTES[name]
    for check in guardrails(case, GuardrailInputs(), OpeParams()):
        assert check.name in words.RULES


TOY_SOURCE = """
import json
import ibis
import pyarrow as pa
from tessera.contracts.errors import BadInput
from tessera.stages.ingest.counts import Rejected
from tessera.stages.ingest.draft import Draft
from tessera.stages.ingest.engine import FILE, ROW
from tessera.stages.ingest.raw import stage_columns
from tessera.stages.ingest.source import Conventions

CONVENTIONS = Conventions(unknown_item_risk=2, official=("toys.jsonl",))

def drafts(folder, engine, params):
    path = folder / "toys.jsonl"
    if not path.is_file():
        raise BadInput(f"{path.name} is missing in {folder}: put it there")
    lines = list(enumerate(path.read_text().splitlines(), start=1))
    told = [(row, json.loads(line)) for row, line in lines if line.startswith("{")]
    names = {name: pa.array([one[name] for _, one in told]) for name in ("who", "what", "day")}
    places = {FILE: pa.repeat(pa.scalar(path.name), len(told)), ROW: pa.array([r for r, _ in told])}
    rows = stage_columns(engine, names | places, "toys")
    events = rows.select(
        FILE, ROW, event_id=rows[ROW].cast("string"), user_id=rows.who, item_id=rows.what,
        action=ibis.literal("buy"), event_ts=rows.day, time_kind=ibis.literal("exact"),
    )
    once = rows.group_by("what").agg(_row=rows[ROW].min())
    items = once.select(item_id=once.what, name=once.what, **{FILE: ibis.literal(path.name), ROW: once._row})
    bad = [Rejected(path.name, row, "no object", line) for row, line in lines if line[:1] != "{"]
    return {"events": Draft(events, tuple(bad)), "items": Draft(items)}
"""  # noqa: E501


def test_a_source_is_a_module(plug, law, tmp_path):
    class Params(IngestParams):
        source: Literal["market", "toy"] = "toy"

    lines = [json.dumps({"who": f"u{n % 2}", "what": f"i{n % 3}", "day": f"2024-01-{n + 1:02d}"})
             for n in range(10)]  # fmt: skip
    text = "\n".join([*lines[:4], "not a line of ours", *lines[4:]]) + "\n"
    suite = law("test_source_reader_law")
    toy = suite.World({"toys.jsonl": text}, {"events": 11, "items": 3},
                      ("events", "toys.jsonl", 5), of=Params)  # fmt: skip
    with pytest.raises(BadParams, match=r"sources has no 'toy': choose one of amazon, far_trans"):
        Params()
    plug(SOURCES, "toy", TOY_SOURCE)
    suite.SOURCES["toy"] = toy
    found = suite.ingested(toy, "toy", tmp_path / "law")
    suite.test_every_row_of_the_files_is_good_or_set_aside(found, toy)
    suite.test_a_bad_row_is_named_by_its_file_and_its_row(found, toy)
    suite.test_its_conventions_split_the_events(found, toy, "toy")
    for number, each in enumerate(
        (
            suite.test_every_column_is_one_of_the_contract_and_of_its_type_or_text,
            suite.test_its_official_files_tell_its_folder,
        )
    ):
        (tmp_path / str(number)).mkdir()
        each(toy, "toy", tmp_path / str(number))
    (tmp_path / "again").mkdir()
    suite.test_equal_files_give_equal_bytes_whatever_the_threads(
        found, toy, "toy", tmp_path / "again"
    )
    (tmp_path / "none").mkdir()
    suite.test_a_folder_without_its_files_is_one_line(toy, "toy", tmp_path / "none", "empty")


def test_every_source_has_a_choice_and_a_law(law):
    known = components.names(SOURCES)
    assert choices(IngestParams, "source") == known
    assert sorted(law("test_source_reader_law").SOURCES) == known


def test_checking_params_waits_for_no_reader():
    """They are checked whenever a command starts, and what reads files takes a second to import."""
    code = (
        "import sys\n"
        "from tessera.stages.ingest.params import IngestParams\n"
        "from tessera.stages.ingest.source import conventions, known_sources\n"
        "IngestParams(), [conventions(name) for name in known_sources()]\n"
        "assert not {'ibis', 'duckdb', 'pandas'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def names_a_source(node, known):
    """Whether code asks which source it has, or holds a table of sources."""
    if isinstance(node, ast.Compare):
        return any(getattr(one, "attr", "") == "source" for one in ast.walk(node))
    keys = {getattr(key, "value", None) for key in getattr(node, "keys", ())}
    return isinstance(node, ast.Dict) and keys != set() and keys <= known


def test_nothing_in_ingest_asks_which_source_it_has(repository):
    """What a source means stands in its module; whoever asks for a name does not know the next."""
    known = set(components.names(SOURCES))
    for path in (repository / "src" / "tessera" / "stages" / "ingest").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            assert not names_a_source(node, known), f"{path.name}: {ast.unparse(node)}"


def test_a_question_for_the_name_of_a_source_is_seen():
    for text, seen in (
        ("params.source == 'amazon'", True),
        ("self.source in ('amazon', 'movielens')", True),
        ("{'amazon': 1, 'table': 2}", True),
        ("{'table': part.table, 'row': 1}", False),
        ("found.sources[1:] == name", False),
    ):
        node = ast.parse(text, mode="eval").body
        assert names_a_source(node, {"amazon", "movielens", "table"}) is seen, text


TOY_RETRIEVER = """
from dataclasses import dataclass
import numpy as np
from tessera.serve.retrieval import Found

@dataclass(frozen=True)
class Toy:
    rank_I: object
    bought_I: object

    def retrieve(self, who, eligible_I, most):
        row_C = np.flatnonzero(eligible_I)
        return Found.best(row_C, -self.bought_I[row_C], self.rank_I, most)

def open_retriever(bundle, shelf):
    return Toy(shelf.rank_I, shelf.table["popularity"].to_numpy())
"""


def test_a_retriever_is_a_module_and_a_name(plug, law, tmp_path, rng):
    suite = law("test_retriever_law")
    bundle = suite.shop(tmp_path / "bundle")
    shelf = Shelf.of(pq.read_table(bundle / "items.parquet"))
    with pytest.raises(BadParams, match="retrievers has no 'toy': choose one of content, dense"):
        open_retrievers(bundle, shelf, ("toy", "popular"))
    plug(RETRIEVER_KIND, "toy", TOY_RETRIEVER)
    suite.test_all_that_is_eligible_is_found_best_first_and_ties_by_item("toy", bundle)
    suite.test_only_what_is_eligible_is_found_and_nothing_else_changes("toy", bundle, rng)
    suite.test_an_item_without_a_score_is_left_out_and_the_others_keep_their_order(
        "toy", bundle, tmp_path
    )
    asked = suite.somebody(), suite.everything(), 5
    both = open_retrievers(bundle, shelf, ("toy", "popular"))
    found = first_heard(both.values(), *asked)
    popular = both["popular"].retrieve(*asked)
    assert found.row_F.tolist() != popular.row_F.tolist(), "the first that answers is heard"
    assert len(first_heard((), *asked).row_F) == 0


def test_every_retriever_is_asked_and_held_to_the_law_and_served_lists_depend_on_it(law):
    known = components.names(RETRIEVER_KIND)
    assert sorted(RETRIEVERS) == known
    assert sorted(law("test_retriever_law").RETRIEVERS) == known
    closure = import_closure("tessera.serve.recommend")
    assert {f"tessera/serve/retrievers/{name}.py" for name in known} <= set(closure)


def test_an_index_over_vectors_is_two_functions_and_a_name(tmp_path, rng, monkeypatch):
    """A toy keeps vectors as NumPy does, beside the empty index that says of which kind it is."""

    class Toy(NamedTuple):
        vector_ND: np.ndarray

        def among(self, query_1D, listed_N, most):
            row_K = np.flatnonzero(listed_N)
            return row_K, (self.vector_ND @ query_1D[0])[row_K]

        @property
        def count(self):
            return len(self.vector_ND)

        @property
        def width(self):
            return self.vector_ND.shape[1]

    class ToyKind:
        def write(self, vector_ND, bundle):
            faiss.write_index(faiss.IndexLSH(vector_ND.shape[1], 8), str(bundle / "vectors.faiss"))
            np.save(bundle / "vectors.npy", vector_ND)

        def open_index(self, index, bundle):
            is_toy = isinstance(index, faiss.IndexLSH)
            return Toy(np.load(bundle / "vectors.npy")) if is_toy else None

    vector_ND = rng.normal(size=(30, 4)).astype(np.float32)
    kinds.write(vector_ND, tmp_path, "flat")
    monkeypatch.setattr(kinds, "KINDS", {"toy": ToyKind(), **kinds.KINDS})
    assert isinstance(kinds.open_index(tmp_path), Flat)
    kinds.write(vector_ND, tmp_path, "toy")
    search = Search(kinds.open_index(tmp_path), [])
    row_K, score_K = search.among(vector_ND[3], np.arange(30) % 2 == 1, 5)
    score_N = np.where(np.arange(30) % 2 == 1, vector_ND @ vector_ND[3], -np.inf)
    assert row_K.tolist() == np.argsort(-score_N)[:5].tolist()
    assert (np.diff(score_K) < 0).all()
