# ruff: noqa: E501 -- headers as the official files have them
"""Public data sets come in whole by their shipped profiles; values here are made up."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from tessera.platform.workspace.params import load_params
from tessera.platform.workspace.paths import open_workspace

pytestmark = pytest.mark.filterwarnings("ignore:fetch_arrow_table")


@dataclass(frozen=True)
class Known:
    """Files of a data set, and what must come of them."""

    files: dict[str, str | pa.Table]
    first: dict[str, Any]
    """Some values of the first event."""
    good: dict[str, int]
    """Rows of each table."""
    actions: dict[str, int]
    items: list[str]
    item: dict[str, object] = field(default_factory=dict)
    """Some values of the first item."""
    user: dict[str, object] = field(default_factory=dict)
    left_out: int = 0
    """Records that are no events."""


def _tabs(*rows: str) -> str:
    return "".join(row.replace(" | ", "\t") + "\n" for row in rows)


def at(*moment: int) -> datetime:
    return datetime(*moment, tzinfo=UTC)


SHOWN = "user_feature_0,user_feature_1,user_feature_2,user_feature_3,user-item_affinity_0,user-item_affinity_1,user-item_affinity_2"
KUAI = "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,play_time_ms,duration_ms,profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab"
SANTANDER = "fecha_dato,ncodpers,ind_empleado,pais_residencia,sexo,age,fecha_alta,ind_nuevo,antiguedad,indrel,ult_fec_cli_1t,indrel_1mes,tiprel_1mes,indresi,indext,conyuemp,canal_entrada,indfall,tipodom,cod_prov,nomprov,ind_actividad_cliente,renta,segmento,ind_ahor_fin_ult1,ind_aval_fin_ult1,ind_cco_fin_ult1,ind_cder_fin_ult1,ind_cno_fin_ult1,ind_ctju_fin_ult1,ind_ctma_fin_ult1,ind_ctop_fin_ult1,ind_ctpp_fin_ult1,ind_deco_fin_ult1,ind_deme_fin_ult1,ind_dela_fin_ult1,ind_ecue_fin_ult1,ind_fond_fin_ult1,ind_hip_fin_ult1,ind_plan_fin_ult1,ind_pres_fin_ult1,ind_reca_fin_ult1,ind_tjcr_fin_ult1,ind_valo_fin_ult1,ind_viv_fin_ult1,ind_nomina_ult1,ind_nom_pens_ult1,ind_recibo_ult1"


def _held(month: str, customer: int, segment: str, current: int, card: int) -> str:
    flags = ["0"] * 24
    flags[2], flags[18] = str(current), str(card)
    who = f"N,ES,H, 35,2015-01-12,0,      6,1,,1.0,A,S,N,,KHL,N,1,29,MALAGA,1,87218.1,{segment}"
    return f"{month},{customer},{who},{','.join(flags)}\n"


HELD = "".join(
    [
        SANTANDER + "\n",
        _held("2015-01-28", 1375586, "02 - PARTICULARES", 1, 0),
        _held("2015-01-28", 1050611, "03 - UNIVERSITARIO", 0, 1),
        _held("2015-02-28", 1375586, "02 - PARTICULARES", 1, 1),
        _held("2015-02-28", 1050611, "03 - UNIVERSITARIO", 1, 1),
        _held("2015-03-28", 1375586, "01 - TOP", 1, 0),
        _held("2015-03-28", 1050611, "03 - UNIVERSITARIO", 1, 1),
        _held("2015-04-28", 1375586, "01 - TOP", 1, 1),
    ]
)

KNOWN: dict[str, Known] = {
    "retailrocket": Known(
        {
            "events.csv": "timestamp,visitorid,event,itemid,transactionid\n"
            "1433221332117,257597,view,355908,\n1433224214164,992329,addtocart,248676,\n"
            "1433224300000,992329,transaction,248676,4000\n1433321332117,257597,view,248676,\n",
            "category_tree.csv": "categoryid,parentid\n1016,213\n809,\n",
        },
        {"user_id": "257597", "item_id": "355908", "event_ts": at(2015, 6, 2, 5, 2, 12, 117_000)},
        {"events": 4, "items": 2},
        {"view": 2, "click": 1, "buy": 1},
        ["248676", "355908"],
        {"name": "248676"},
    ),
    "kuairand": Known(
        {
            "log_standard_4_08_to_4_21_pure.csv": f"{KUAI}\n"
            "0,3784,20220408,1400,1649397619179,0,0,0,0,0,0,0,2031,13000,0,0,0,0,1\n"
            "0,1157,20220408,1400,1649397719179,1,0,0,0,0,0,0,9000,13000,0,0,0,0,1\n",
            "log_standard_4_22_to_5_08_pure.csv": f"{KUAI}\n"
            "9,3784,20220422,0,1650556800500,1,1,0,0,0,0,1,13000,13000,0,0,0,0,4\n",
            "log_random_4_22_to_5_08_pure.csv": f"{KUAI}\n"
            "0,1157,20220423,100,1650646800000,0,0,0,0,0,0,0,0,13000,0,0,0,1,1\n"
            "9,22,20220424,2300,1650812400000,1,0,0,0,0,0,1,14000,14000,0,0,0,1,1\n",
            "video_features_basic_pure.csv": "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,server_width,server_height,music_id,music_type,tag\n"
            "3784,441,NORMAL,2020-07-08,ShortImport,1,17200.0,720,1280,989206467,4.0,\"12,65\"\n"
            "1157,7,AD,2022-03-27,Web,1,,720,1280,3,9.0,\n"
            "22,7,NORMAL,2022-03-27,Web,1,13000.0,720,1280,3,9.0,28\n",
            "user_features_pure.csv": "user_id,user_active_degree,is_lowactive_period,is_live_streamer,is_video_author,follow_user_num,follow_user_num_range,fans_user_num,fans_user_num_range,friend_user_num,friend_user_num_range,register_days,register_days_range,onehot_feat0\n"
            '0,full_active,0,0,0,5,"(0,10]",0,0,0,0,107,91-180,0\n9,UNKNOWN,0,0,1,386,"(250,500]",4,"[1,10)",2,"[1,5)",327,181-365,0\n',
        },
        {"user_id": "0", "item_id": "1157", "event_ts": at(2022, 4, 8, 6, 1, 59, 179_000), "channel": "1"},
        {"events": 3, "items": 3, "users": 2, "exposures": 2, "outcomes": 1},
        {"click": 3},
        ["1157", "22", "3784"],
        {"category": "AD", "issuer": "7", "subcategory": None},
        {"user_id": "0", "segment": "full_active"},
        left_out=2,
    ),
    "open-bandit": Known(
        {
            "men.csv": f",timestamp,item_id,position,click,propensity_score,{SHOWN}\n"
            "0,2019-11-24 00:00:34.762830+00:00,2,3,0,0.3333333333333333,81ce,03a5,c2e4,f975,0.0,0.0,1.0\n"
            "1,2019-11-24 00:00:53.965051+00:00,0,1,1,0.3333333333333333,81ce,03a5,2723,c39b,0.0,0.0,0.0\n"
            "2,2019-11-25 10:00:53.965051+00:00,1,2,1,0.3333333333333333,81ce,03a5,2723,c39b,0.0,0.0,0.0\n",
            "item_context.csv": ",item_id,item_feature_0,item_feature_1,item_feature_2,item_feature_3\n"
            "0,0,-0.677,5f91,98a0,7bb8\n1,1,-0.721,5f91,98a1,7bb8\n2,2,0.745,6007,98a0,7bb8\n",
        },
        {"item_id": "0", "event_ts": at(2019, 11, 24, 0, 0, 53, 965_051), "user_id": "81ce-03a5-2723-c39b"},
        {"events": 2, "items": 3, "exposures": 3, "outcomes": 2},
        {"click": 2},
        ["0", "1", "2"],
        {"category": "5f91", "sector": "7bb8"},
        left_out=1,
    ),
    "hm": Known(
        {
            "transactions_train.csv": "t_dat,customer_id,article_id,price,sales_channel_id\n"
            "2018-09-20,000058a1,0663713001,0.0508305084745762,2\n"
            "2018-09-20,000058a1,0541518023,0.0304915254237288,2\n"
            "2018-09-22,00007d2d,0663713001,0.0152372881355932,1\n",
            "articles.csv": "article_id,product_code,prod_name,product_type_no,product_type_name,product_group_name,graphical_appearance_no,graphical_appearance_name,colour_group_code,colour_group_name,perceived_colour_value_id,perceived_colour_value_name,perceived_colour_master_id,perceived_colour_master_name,department_no,department_name,index_code,index_name,index_group_no,index_group_name,section_no,section_name,garment_group_no,garment_group_name,detail_desc\n"
            '0541518023,0541518,Rae top,253,Vest top,Garment Upper body,1010016,Solid,09,Black,4,Dark,5,Black,1676,Jersey Basic,A,Ladieswear,1,Ladieswear,16,Everyday,1002,Jersey,"Top in soft jersey, with ""narrow"" straps."\n'
            "0663713001,0663713,Atlanta set,283,Bra,Underwear,1010016,Solid,10,White,3,Light,9,White,1338,Lingerie,B,Lingeries,1,Ladieswear,61,Tights,1017,Under,\n",
            "customers.csv": "customer_id,FN,Active,club_member_status,fashion_news_frequency,age,postal_code\n"
            "000058a1,1.0,1.0,ACTIVE,Regularly,49.0,52043ee2\n00007d2d,,,,NONE,,2973abc5\n",
        },
        {"user_id": "000058a1", "item_id": "0663713001", "event_ts": at(2018, 9, 20), "channel": "online"},
        {"events": 3, "items": 2, "users": 2},
        {"buy": 3},
        ["0541518023", "0663713001"],
        {"name": "Rae top", "category": "Garment Upper body", "sector": "Ladieswear", "text": 'Top in soft jersey, with "narrow" straps.'},
        {"user_id": "000058a1", "segment": "ACTIVE", "valid_from": at(1970, 1, 1)},
    ),
    "online-retail": Known(
        {
            "Online Retail.csv": "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"
            "536365,85123A,WHITE HANGING HEART T-LIGHT HOLDER,6,12/1/2010 8:26,2.55,17850,United Kingdom\n"
            '536370,22728,"ALARM CLOCK, PINK",24,12/1/2010 8:45,3.75,12583,France\n'
            "536370,POST,POSTAGE,3,12/1/2010 8:45,18,12583,France\n"
            "C536379,85123A,WHITE HANGING HEART T-LIGHT HOLDER,-1,12/1/2010 9:41,27.5,17850,United Kingdom\n"
            "536414,22139,,56,12/1/2010 11:52,0,,United Kingdom\n"
            "581587,22728,ALARM CLOCK,12,7/9/2011 12:50,.85,12583,France\n"
        },
        {"user_id": "17850", "item_id": "85123A", "event_ts": at(2010, 12, 1, 8, 26), "units": 6.0},
        {"events": 3, "items": 2, "users": 2},
        {"buy": 3},
        ["22728", "85123A"],
        {"name": "ALARM CLOCK, PINK"},
        {"user_id": "12583", "segment": "France"},
        left_out=3,
    ),
    "yambda": Known(
        {
            "multi_event.parquet": pa.table(
                {
                    "uid": pa.array([100, 100, 200, 200, 200], pa.uint32()),
                    "timestamp": pa.array([0, 5, 86_405, 90_000, 95_000], pa.uint32()),
                    "item_id": pa.array([8326270, 1441281, 8326270, 1441281, 1441281], pa.uint32()),
                    "is_organic": pa.array([0, 1, 1, 1, 1], pa.uint8()),
                    "played_ratio_pct": pa.array([95, None, 3, None, None], pa.uint16()),
                    "track_length_seconds": pa.array([170, None, 105, None, None], pa.uint32()),
                    "event_type": pa.array(["listen", "like", "listen", "dislike", "undislike"]).dictionary_encode(),
                }
            )
        },
        {"user_id": "100", "item_id": "8326270", "event_ts": at(1970, 1, 1), "channel": "recommended"},
        {"events": 4, "items": 2},
        {"view": 2, "click": 1, "dismiss": 1},
        ["1441281", "8326270"],
        left_out=1,
    ),
    "mind": Known(
        {
            "behaviors.tsv": _tabs(
                "1 | U13740 | 11/11/2019 9:05:58 AM | N55189 N42782 | N55689-1 N35729-0",
                "2 | U91836 | 11/12/2019 6:11:30 PM |  | N20678-0 N39317-1 N55689-1",
                "3 | U73700 | 11/14/2019 7:01:48 AM | N10732 | N50014-0",
            ),
            "news.tsv": _tabs(
                'N55689 | sports | football_nfl | Say "cheese | A "quote. | https://assets.msn.com/1.html | [] | []',
                "N35729 | news | newsus | Porsche |  | https://assets.msn.com/2.html | [] | []",
                "N20678 | health | medical | Brain | Text | https://assets.msn.com/3.html | [] | []",
                "N39317 | news | newsus | Town | Text | https://assets.msn.com/4.html | [] | []",
                "N50014 | news | newsus | None of it | Text | https://assets.msn.com/5.html | [] | []",
            ),
        },
        {"user_id": "U13740", "item_id": "N55689", "event_ts": at(2019, 11, 11, 9, 5, 58), "request_id": "1", "event_id": "000000000001-00001"},
        {"events": 3, "items": 5},
        {"click": 3},
        ["N20678", "N35729", "N39317", "N50014", "N55689"],
        {"name": "Brain", "category": "health"},
        left_out=1,
    ),
    "amazon-2023": Known(
        {
            "All_Beauty.csv": "user_id,parent_asin,rating,timestamp\n"
            "AGKHLEW2SOWHNMFQIJGBECAF7INQ,B00YQ6X8EO,5.0,1588687728923\n"
            "AGKHLEW2SOWHNMFQIJGBECAF7INQ,B081TJ8YS3,4.0,1588615855070\n"
            "AEYORY2AVPMCPDV57CE337YU5LXA,B00YQ6X8EO,1.0,1634275259292\n"
        },
        {"item_id": "B081TJ8YS3", "units": 4.0, "event_ts": at(2020, 5, 4, 18, 10, 55, 70_000)},
        {"events": 3, "items": 2},
        {"rate": 3},
        ["B00YQ6X8EO", "B081TJ8YS3"],
    ),
    "lastfm": Known(
        {
            "userid-timestamp-artid-artname-traid-traname.tsv": _tabs(
                "user_000001 | 2009-05-04T23:08:57Z | f1b1cf71 | Deep Dish |  | Fuck Me I'm Famous",
                'user_000001 | 2009-05-04T13:54:10Z | a7f7df4a | 坂本龍一 | 9de1 | "Composition 0919',
                "user_000002 | 2009-05-03T15:48:25Z |  | Nobody known |  | Untitled",
                "user_000002 | 2009-05-05T15:48:25Z | a7f7df4a | 坂本龍一 | 9de1 | NA",
            ),
            "userid-profile.tsv": _tabs(
                "#id | gender | age | country | registered",
                "user_000001 | m |  | Japan | Aug 13, 2006",
                "user_000002 | f |  |  | Feb 24, 2006",
            ),
        },
        {"user_id": "user_000001", "item_id": "a7f7df4a", "event_ts": at(2009, 5, 4, 13, 54, 10)},
        {"events": 3, "items": 2, "users": 2},
        {"view": 3},
        ["a7f7df4a", "f1b1cf71"],
        {"name": "坂本龍一"},
        {"user_id": "user_000001", "segment": "Japan"},
        left_out=1,
    ),
    "recbole": Known(
        {
            f"games.{part}.inter": _tabs("user_id:token | item_id:token | rating:float | timestamp:float", *rows)
            for part, rows in {
                "test": ["1 | 51 | 2 | 886397596.0"],
                "train": ["1 | 50 | 5 | 881250949.0", "2 | 51 | 3 | 881250950.0"],
                "valid": ["1 | 52 | 4 | 884182806.0"],
            }.items()
        },
        {"user_id": "1", "item_id": "50", "units": 5.0, "event_ts": at(1997, 12, 4, 15, 55, 49)},
        {"events": 4, "items": 3},
        {"rate": 4},
        ["50", "51", "52"],
    ),
    "santander": Known(
        {
            "train_ver2.csv": HELD,
            "acquired.csv": "ncodpers,fecha_dato,product\n1050611,2015-02-28,ind_cco_fin_ult1\n"
            "1375586,2015-02-28,ind_tjcr_fin_ult1\n1375586,2015-04-28,ind_tjcr_fin_ult1\n",
        },
        {"user_id": "1050611", "item_id": "ind_cco_fin_ult1", "event_ts": at(2015, 2, 28), "time_kind": "snapshot"},
        {"events": 3, "items": 2, "users": 7},
        {"buy": 3},
        ["ind_cco_fin_ult1", "ind_tjcr_fin_ult1"],
        {},
        {"user_id": "1050611", "segment": "03 - UNIVERSITARIO", "valid_from": at(2015, 1, 28)},
    ),
}  # fmt: skip


def _write(folder: Path, files: dict[str, str | pa.Table]) -> Path:
    folder.mkdir()
    for name, content in files.items():
        if isinstance(content, str):
            (folder / name).write_text(content)
        else:
            pq.write_table(content, folder / name)
    return folder


@pytest.fixture
def known(ingest, tmp_path, repository):
    """Ingest made-up files of a known data set by its shipped profile."""

    def go(name: str, **changes: str | None):
        one = KNOWN[name]
        files = {file: text for file, text in (one.files | changes).items() if text is not None}
        params = load_params(open_workspace(name, repository))["ingest"]
        folder = _write(tmp_path / name, files)
        return ingest(folder, "table", protocol="leave_last_out", mapping=params.mapping)

    return go


@pytest.mark.parametrize("name", KNOWN)
def test_a_known_data_set_comes_in_whole_by_its_profile(known, name):
    expected = KNOWN[name]
    out = known(name)
    assert out.reasons() == []
    tables = ("events", "items", "users", "exposures", "outcomes")
    assert {table: len(out.rows(table)) for table in tables} == {
        table: expected.good.get(table, 0) for table in tables
    }
    events = out.rows("events")
    assert {key: events[0][key] for key in expected.first} == expected.first
    actions = [row["action"] for row in events]
    assert {action: actions.count(action) for action in actions} == expected.actions
    items = out.rows("items")
    assert [row["item_id"] for row in items] == expected.items
    assert {row["risk_class"] for row in items} == {1}
    assert {key: items[0][key] for key in expected.item} == expected.item
    for user in out.rows("users")[:1]:
        assert {key: user[key] for key in expected.user} == expected.user
    assert out.metrics.get("events_left_out", 0) == expected.left_out


def test_every_shipped_profile_of_a_table_is_tried(repository):
    shipped = {
        path.stem
        for path in (repository / "profiles").glob("*.yaml")
        if load_params(open_workspace(path.stem, repository))["ingest"].source == "table"
    }
    assert shipped == set(KNOWN)


def test_random_exposures_know_their_chances(known):
    out = known("kuairand")
    for shown, (moment, item) in zip(
        out.rows("exposures"),
        [(at(2022, 4, 22, 17), "1157"), (at(2022, 4, 24, 15), "22")],
        strict=True,
    ):
        assert (shown["event_ts"], shown["item_id"], shown["position"]) == (moment, item, 1)
        assert sorted(shown["candidate_ids"]) == ["1157", "22", "3784"]
        assert shown["candidate_propensities"] == [1 / 3] * 3
        assert shown["propensity"] == 1 / 3
    (answer,) = out.rows("outcomes")
    assert answer["request_id"] == out.rows("exposures")[1]["request_id"]
    assert (answer["item_id"], answer["action"]) == ("22", "click")


def test_a_log_of_the_other_policy_is_not_taken_for_even(known):
    men = KNOWN["open-bandit"].files["men.csv"].replace("1,0.3333333333333333", "1,0.21", 1)
    out = known("open-bandit", **{"men.csv": men})
    assert out.reasons() == [("exposures", "propensity: not 1/3, as evenly says, such as '0.21'")]
    assert out.metrics["exposures_in"] == 3


def _lines_of_the_page(repository: Path, before: str, language: str = "python") -> str:
    page = (repository / "docs" / "sources.md").read_text()
    return page.split(before)[1].split(f"```{language}\n")[1].split("```")[0]


def test_flags_of_two_months_become_purchases(tmp_path, repository, monkeypatch):
    """The lines of the page make the file that the profile reads."""
    folder = _write(tmp_path / "made", {"train_ver2.csv": HELD})
    monkeypatch.chdir(folder)
    exec(_lines_of_the_page(repository, "**Santander**"), {})
    found = (folder / "acquired.csv").read_text()
    assert found == KNOWN["santander"].files["acquired.csv"]


def test_titles_come_out_of_json_lines(ingest, tmp_path, repository, monkeypatch):
    """The lines of the page make the file, and its mapping reads it."""
    folder = _write(tmp_path / "made", KNOWN["amazon-2023"].files)
    described = [
        {"main_category": "All Beauty", "title": "Cream, \"rich\"", "average_rating": 4.8, "features": [], "description": ["For", "hands"], "price": None, "store": "Acme", "categories": [], "details": {"Brand": "Acme"}, "parent_asin": "B00YQ6X8EO", "bought_together": None},
        {"main_category": "All Beauty", "title": "Comb", "average_rating": 3.5, "features": ["x"], "description": [], "price": 1.5, "store": None, "categories": [], "details": {}, "parent_asin": "B081TJ8YS3", "bought_together": None},
    ]  # fmt: skip
    with gzip.open(folder / "meta_All_Beauty.jsonl.gz", "wt") as file:
        file.write("".join(json.dumps(one) + "\n" for one in described))
    monkeypatch.chdir(folder)
    exec(_lines_of_the_page(repository, "**Amazon Reviews 2023**"), {})
    mapping = load_params(open_workspace("amazon-2023", repository))["ingest"].model_dump(
        by_alias=True, exclude_unset=True
    )["mapping"]
    told = _lines_of_the_page(repository, "**Amazon Reviews 2023**", "yaml")
    out = ingest(folder, "table", protocol="leave_last_out", mapping=mapping | yaml.safe_load(told))
    assert out.reasons() == []
    cream, comb = out.rows("items")
    assert (cream["name"], cream["text"], cream["issuer"]) == ('Cream, "rich"', "For hands", "Acme")
    assert (comb["name"], comb["text"], comb["issuer"]) == ("Comb", None, None)


@pytest.mark.real_data
@pytest.mark.parametrize(("campaign", "items", "clicks"), [("all", 80, 38), ("men", 34, 46)])
def test_the_official_log_of_a_bandit_comes_in_whole(
    ingest, official, repository, campaign, items, clicks
):
    params = load_params(open_workspace("open-bandit", repository))["ingest"]
    out = ingest(
        official / "open-bandit-small" / "random" / campaign, "table", mapping=params.mapping
    )
    assert out.metrics["rows_quarantined"] == 0
    assert out.metrics["exposures_good"] == 10_000
    assert out.metrics["events_good"] == out.metrics["outcomes_good"] == clicks
    shown = out.rows("exposures")[-1]
    assert len(set(shown["candidate_ids"])) == items
    assert shown["item_id"] in shown["candidate_ids"]
    assert shown["propensity"] == 1 / items
