from pathlib import Path

import pytest

from tessera.platform.workspace.catalogue import ALL_STAGES, upstream

ROOT = Path(__file__).resolve().parents[2]
LAST = {"report", "index", "monitor"}
HOSTILE = [
    "/srv'; touch {mark}; '",
    '/x"; touch {mark} #',
    "/$(touch {mark})",
    "/`touch {mark}`",
    "/{{{{ 7 * 7 }}}}",
    "/--help",
    "/a b; touch {mark} | touch {mark} & touch {mark} > {mark}",
    "/Gesch\u00e4ftsjahr \u20ac \u4e2d\U0001f600/$HOME/~/*/!!/\\",
    "/" + "x" * 999,
]

TYPED = ("profile", "data", "cut", "override_reason")
"""Answers of the form that a person types or a program sends."""

END = "2021-07-02T00:00:00+00:00"
DAYS = [f"2021-07-0{day}T00:00:00+00:00" for day in (1, 2, 3)]
GOOD = [
    {},
    {"profile": "far-trans", "data": "/srv/data", "cut": "2021-07-01"},
    {"from_stage": "hstu", "force": True},
    {"override_reason": "agreed with the product owner"},
    {"override_reason": "--help 'agreed' \"with\" $(the)\n`product`; owner \u00fc\u20ac"},
    {"approval": True},
]
BAD = [
    {"profile": "no-such-profile"},
    {"profile": None},
    {"data": "relative/folder"},
    {"data": "/two\nlines"},
    {"data": "/a line break behind\n"},
    {"data": "/nothing\0"},
    {"data": ""},
    {"data": "-rf /"},
    {"data": "/" + "x" * 1000},
    {"profile": ""},
    {"profile": "--help"},
    {"profile": "market; reboot"},
    {"profile": "m\u00e4rket"},
    {"profile": "../market"},
    {"cut": ""},
    {"cut": "$(date +%F)"},
    {"cut": "2021-07-01\n"},
    {"cut": "-1"},
    {"override_reason": ""},
    {"override_reason": "agreed with \0 the product owner"},
    {"cut": "yesterday"},
    {"cut": "2021-02-30"},
    {"from_stage": "publish"},
    {"force": "yes"},
    {"approval": "yes"},
    {"override_reason": "short"},
    {"override_reason": "x" * 501},
]
CUTS = {
    f"{END} or earlier": {
        "run_type": "scheduled",
        "data_interval_end": END,
        "params": {"approval": True},
    },
    "2020-01-01": {
        "run_type": "backfill",
        "data_interval_end": END,
        "params": {"cut": "2020-01-01"},
    },
    "2020-02-01": {"run_type": "manual", "params": {"cut": "2020-02-01"}},
    "": {"run_type": "manual", "data_interval_end": END},
}
AUTOMATIC = [
    {"run_type": kind, "data_interval_end": day}
    for kind in ("scheduled", "backfill")
    for day in DAYS
]


@pytest.fixture(scope="module")
def told(ask, tmp_path_factory):
    return ask(
        {
            "switched_on": "2024-03-05T01:00:00+00:00",
            "forms": GOOD + BAD,
            "runs": [*CUTS.values(), *AUTOMATIC],
            "folder": str(tmp_path_factory.mktemp("repository")),
        }
    )


def test_reading_the_dag_imports_no_heavy_library(told):
    assert told["imported"] == []


def test_there_is_one_task_per_stage_and_the_acts_around_them(told):
    names = {stage.name for stage in ALL_STAGES}
    assert set(told["dag"]["tasks"]) == names | {
        "run_lock",
        "snapshot",
        "publish",
        "waiting",
        "ask",
    }


def test_what_needs_the_registry_or_a_persons_files_waits_for_the_worker_that_has_them(told):
    """Any worker may take the rest; one that judged elsewhere would count looks in no ledger."""
    anywhere = {name for name, task in told["dag"]["tasks"].items() if task["queue"] == "stages"}
    assert {task["queue"] for task in told["dag"]["tasks"].values()} == {"stages", "default"}
    assert anywhere == {stage.name for stage in ALL_STAGES} - {"ingest", "ope", "report", "index"}


def test_what_a_stage_needs_chooses_pool_and_queue_where_airflow_has_some(ask, told):
    told = told["dag"]["tasks"]
    assert {task["pool"] for task in told.values()} == {"default_pool"}, "nobody named another"
    tasks = ask(TESSERA_POOL="carries", TESSERA_GPU_QUEUE="gpu")["dag"]["tasks"]
    heavy = {name for name, task in tasks.items() if task["pool"] == "carries"}
    assert heavy == {"causal", "uplift", "hstu", "baselines", "ope"}
    assert {name for name, task in tasks.items() if task["queue"] == "gpu"} == {"hstu"}
    of_stage = {"pool", "queue"}
    for name, task in tasks.items():
        rest = {key: task[key] for key in task if key not in of_stage}
        assert rest == {key: told[name][key] for key in rest}, "and nothing else"


def test_edges_are_those_of_the_catalogue(told):
    edges = {(before, stage.name) for stage in ALL_STAGES for before in upstream(stage, ALL_STAGES)}
    edges.update({("run_lock", "snapshot"), ("snapshot", "synth")})
    edges.update((name, "publish") for name in LAST)
    edges.update({("publish", "waiting"), ("waiting", "ask")})
    assert {tuple(edge) for edge in told["dag"]["edges"]} == edges


def test_the_daily_one_runs_one_run_at_a_time_without_catching_up(told):
    dag = told["daily"]
    assert (dag["schedule"], dag["catchup"], dag["max_active_runs"]) == ("0 0 * * *", False, 1)
    assert dag["doc"]
    assert dag["paused"] is True


def test_a_trigger_switches_no_schedule_on(told):
    """*Unpause on trigger* is harmless: what is triggered is on already and has no schedule."""
    assert (told["dag"]["schedule"], told["dag"]["paused"]) == (None, False)
    assert told["dag"]["tasks"] == told["daily"]["tasks"]
    assert told["dag"]["edges"] == told["daily"]["edges"]


def test_switching_it_on_waits_for_the_next_midnight(told):
    assert told["ticks"] == ["2024-03-06T00:00:00+00:00"]


@pytest.mark.parametrize(
    ("on", "ends"),
    [
        # Rome: 31 March 2024 has 23 hours, 27 October has 25.
        ("2024-03-29T12:00:00+00:00", ["30T01:30", "31T01:30", "01T00:30", "02T00:30"]),
        ("2024-10-25T12:00:00+00:00", ["26T00:30", "27T01:30", "28T01:30", "29T01:30"]),
    ],
)
def test_a_day_of_23_or_25_hours_has_one_tick_as_any_other(ask, on, ends):
    asked = {"switched_on": on, "number": 4}
    told = ask(asked, TESSERA_SCHEDULE="30 2 * * *", TESSERA_TIMEZONE="Europe/Rome")
    assert [tick[8:16] for tick in told["ticks"]] == ends


def test_the_environment_switches_the_schedule_off_and_names_profile_and_owner(ask):
    told = ask(TESSERA_SCHEDULE="", TESSERA_PROFILE="far-trans", TESSERA_OWNER="risk team")
    assert told["daily"]["schedule"] is None
    assert told["daily"]["defaults"]["profile"] == "far-trans"
    assert told["dag"]["owners"] == ["risk team"]
    assert told["dag"]["tags"] == ["tessera"]


def test_every_task_retries_with_back_off_and_reports_its_failure(told):
    for name, task in told["dag"]["tasks"].items():
        assert task["retries"] == 2, name
        assert task["backoff"] > 1, name
        assert task["calls_back"], name
        if name not in ("run_lock", "ask"):
            assert task["command"] == f"exec tessera task {name}"
            assert task["trigger_rule"] == "none_failed", name
            assert task["skip"] == [99], name


def test_a_run_waits_for_one_that_runs_but_not_for_one_that_ended_or_is_gone(told):
    *asked, waits = told["run_locks"]
    assert asked == [True, False, True, True]
    assert waits == "ended until later", "no worker is held by who waits"


def test_an_asset_is_told_of_where_another_version_is_current_and_nowhere_else(told):
    assert told["tells"] == [[], [["tessera://market/published", {"version": "v4"}]]]


def test_the_form_offers_the_profiles_and_the_stages(told):
    params = told["dag"]["params"]
    assert params["profile"]["enum"] == sorted(
        path.stem for path in (ROOT / "profiles").glob("*.yaml")
    )
    assert params["from_stage"]["enum"] == [None, *(stage.name for stage in ALL_STAGES)]


def test_the_form_takes_good_answers_and_refuses_bad_ones(told):
    assert told["accepted"] == [True] * len(GOOD) + [False] * len(BAD)


def test_a_person_is_asked_once_for_each_bundle_that_waits_and_for_no_other(told):
    ask = told["asks"]
    assert (ask["trigger_dag_id"], ask["conf"]) == ("tessera_promote", {"profile": "far-trans"})
    assert (ask["dag_run_id"], ask["skip_when_already_exists"]) == ("approval-abc123", True)
    assert ask["wait_for_completion"] is False, "a day's patience must not hold the run lock"
    assert told["dag"]["tasks"]["ask"]["trigger_rule"] == "all_success", "skipped if nobody waits"
    assert told["dag"]["defaults"]["approval"] is False
    assert [run["env"]["TESSERA_APPROVAL"] for run in told["rendered"][:2]] == ["1", "0"]


def test_the_cut_is_the_forms_value_or_the_end_of_an_automatic_runs_interval(told):
    rendered = told["rendered"][: len(CUTS)]
    assert [run["env"]["TESSERA_CUT"] for run in rendered] == list(CUTS)


def test_a_backfilled_day_asks_for_exactly_what_the_daily_run_asked_for(told):
    rendered = told["rendered"][len(CUTS) :]
    assert rendered[:3] == rendered[3:]
    assert [run["env"]["TESSERA_CUT"] for run in rendered[:3]] == [
        f"{day} or earlier" for day in DAYS
    ]


def test_no_answer_of_the_form_can_become_a_command(ask, tmp_path):
    mark = tmp_path / "injected"
    seen = tmp_path / "seen"
    stub = tmp_path / "bin" / "tessera"
    stub.parent.mkdir()
    stub.write_text(
        f'#!/bin/sh\nprintf "%s|%s|%s|%s|%s\\n" "$*" "$TESSERA_PROFILE" "$TESSERA_SOURCE" '
        f'"$TESSERA_CUT" "$TESSERA_OVERRIDE_REASON" >> {seen}\n'
    )
    stub.chmod(0o755)
    hostile = [text.format(mark=mark) for text in HOSTILE]
    runs = [{"run_type": "manual", "params": dict.fromkeys(TYPED, text)} for text in hostile]
    forms = [{"data": text, "override_reason": text[:500].ljust(10)} for text in hostile]
    told = ask({"runs": runs, "forms": forms, "execute": True}, PATH=f"{stub.parent}:/usr/bin:/bin")
    assert {run["command"] for run in told["rendered"]} == {"exec tessera task snapshot"}
    assert seen.read_text().splitlines() == [
        f"task snapshot|{text}|{text}|{text}|{text}" for text in hostile
    ]
    assert not mark.exists()
    assert all(told["accepted"]), "the form lets through what can do no harm"
