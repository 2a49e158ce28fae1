"""What banks, shops and public data sets call the columns and values of our tables.

Words are English, German, Spanish and Italian, without accents, in the form of `plain`.
"""

from __future__ import annotations

import re
import unicodedata

_USER = """user userid uid customer customer_id customerid client client_id clientid visitor
visitorid visitor_id investor investor_id account account_id accountid member member_id person_id
party_id partyid reviewerid reviewer_id user_pseudo_id household_id holder_id kunde kunden kundennr
kundennummer kunden_nr kunden_id kunde_id kd_nr kdnr depot depotnr depotnummer depot_id konto
kontonr kontonummer anleger anleger_id kundenkennung cliente id_cliente cliente_id cod_cliente
codigo_cliente usuario id_usuario ncodpers contrato titular inversor codice_cliente codcliente
cd_cliente utente id_utente investitore ndg intestatario"""
_ITEM = """item itemid iid product product_id productid article article_id articleid isin wkn
valor_nr valoren asin parent_asin sku stock_code stockcode security security_id instrument
instrument_id asset asset_id assetid fund fund_id video_id videoid movie_id movieid track_id
trackid artist_id artistid news_id song_id book_id offer_id symbol ticker wertpapier wertpapier_id
wertpapierkennnummer wp_id wp_nr artikel artikelnr artikelnummer produkt produkt_id produktnr
produktnummer instrumentennummer producto id_producto producto_id cod_producto articulo codigo_isin
cod_isin id_activo activo prodotto id_prodotto prodotto_id codice_prodotto strumento codice_isin
cod_titolo codice_titolo"""
_TIME = """timestamp time ts time_ms date datetime event_time eventtime event_ts event_date
created_at created trade_date tradedate transaction_date transactiondate order_date orderdate day
t_dat invoice_date invoicedate unix_time unixtime unixreviewtime executed_at execution_date
booking_date value_date log_time datum zeit uhrzeit zeitpunkt zeitstempel buchungsdatum buchungstag
handelstag handelsdatum handelszeit valuta ausfuehrungsdatum ausfuhrungsdatum ausfuehrungszeit
ausfuhrungszeit auftragsdatum auftragszeit buchungszeit
bestelldatum transaktionsdatum fecha fecha_operacion fecha_hora fechahora fecha_dato fecha_valor
fecha_ejecucion momento data data_operazione data_ora dataora data_ordine data_valuta data_eseguito
data_esecuzione giorno istante"""
_ACTION = """action event eventtype event_type type side direction transaction_type transactiontype
trade_type buy_sell buysell order_type behavior behavior_type behaviour operation activity art
auftragsart transaktionsart transaktionstyp geschaeftsart geschaftsart orderart kauf_verkauf kv
richtung tipo tipo_operacion operacion tipo_orden compra_venta sentido tipo_operazione operazione
tipo_ordine acquisto_vendita segno verso causale"""
_RISK = """risk risk_class riskclass risk_level risklevel risk_profile riskprofile risk_category
risk_score risk_rating risk_tolerance mifid mifid_risk mifid_class mifid_profile mifid_risk_class
srri sri risikoklasse risiko risikoprofil risikostufe anlegerprofil riesgo perfil_riesgo
perfil_de_riesgo nivel_riesgo clase_riesgo perfil_mifid rischio classe_rischio classe_di_rischio
profilo_rischio profilo_di_rischio livello_rischio profilo_mifid"""
_FROM = """valid_from validfrom from start start_date startdate issue_date launch_date listed_from
since inception inception_date gueltig_von gultig_von gueltig_ab gultig_ab von ab seit auflagedatum
emissionsdatum valido_desde desde fecha_inicio fecha_alta fecha_emision valido_da valido_dal dal da
inizio data_inizio data_emissione"""
_TO = """valid_to validto to until end end_date enddate maturity maturity_date expiry expiry_date
gueltig_bis gultig_bis bis faelligkeit falligkeit valido_hasta hasta fecha_fin fecha_baja
vencimiento valido_a valido_al al fine data_fine scadenza data_scadenza"""

WORDS: dict[str, dict[str, str]] = {
    "events": {
        "user_id": "user_id " + _USER,
        "item_id": "item_id " + _ITEM,
        "event_ts": _TIME,
        "action": _ACTION,
        "amount_eur": """amount amount_eur value value_eur total total_value totalvalue turnover
        gross_amount net_amount notional eur revenue price unit_price unitprice betrag betrag_eur
        kurswert summe umsatz gegenwert volumen importe importe_eur monto valor importo importo_eur
        controvalore ammontare totale""",
        "units": """units quantity qty shares nominal rating stars overall plays play_count weight
        preference menge anzahl stueck stuck stk stueckzahl nominale nennwert cantidad unidades
        num_titulos titulos quantita pezzi numero_titoli valutazione""",
        "channel": """channel sales_channel sales_channel_id medium device platform kanal
        vertriebsweg vertriebskanal orderweg canal canal_entrada canale""",
        "request_id": """request_id requestid impression_id impressionid req slate_id""",
    },
    "items": {
        "item_id": "item_id id " + _ITEM,
        "name": """name title product_name prod_name productname item_name asset_name assetname
        security_name fund_name movie_title track_title artist_name bezeichnung titel produktname
        wertpapiername wertpapierbezeichnung nombre denominacion nombre_producto nome denominazione
        descrizione descripcion description label""",
        "category": """category asset_class assetclass assetcategory asset_category product_type
        producttype kind type class product_group product_group_name main_category kategorie
        gattung art anlageklasse produktart wertpapierart produktgruppe categoria tipo
        tipo_producto clase clase_activo classe tipologia asset_type genre genres categories""",
        "subcategory": """subcategory sub_category assetsubcategory asset_sub_category
        product_type_name unterkategorie produktuntergruppe subcategoria sottocategoria""",
        "sector": """sector industry branche sektor industriezweig settore industria sector_name""",
        "issuer": """issuer brand manufacturer store emittent emisor emittente gestora gestore
        marca marke""",
        "market_id": """market market_id marketid exchange venue mic boerse borse handelsplatz
        mercado mercato borsa bolsa""",
        "text": """text detail_desc long_description beschreibung summary abstract overview
        features""",
        "risk_class": _RISK,
        "valid_from": _FROM,
        "valid_to": _TO,
        # What is called a ratio may be a share: a mapping has to name it.
        "fee_percent": """fee_percent fee_pct ter ter_percent ter_pct ongoing_charge_percent
        ongoing_charges_percent""",
    },
    "users": {
        "user_id": "user_id id " + _USER,
        "valid_from": _FROM + " " + _TIME + " last_questionnaire_date questionnaire_date",
        "risk_class": _RISK,
        "capacity_class": """capacity capacity_class investment_capacity kapazitaet tragfaehigkeit
        capacidad capacita""",
        "segment": """segment customer_type customertype client_type type tier occupation
        club_member_status kundensegment kundentyp segmento tipo_cliente segmentacion
        segmento_cliente""",
    },
    "prices": {
        "item_id": "item_id id " + _ITEM,
        "price_ts": "price_date price_ts " + _TIME,
        "close_eur": """close close_eur close_price closeprice closing_price adj_close price nav
        last kurs schlusskurs preis ruecknahmepreis rucknahmepreis precio cierre precio_cierre
        valor_liquidativo cotizacion prezzo chiusura prezzo_chiusura quotazione quota""",
    },
    "exposures": {
        "request_id": "request_id requestid impression_id impressionid req request slate_id",
        "position": """position pos rank slot place item_position posizione posicion rang""",
        "user_id": "user_id " + _USER,
        "item_id": "item_id " + _ITEM,
        "event_ts": "shown_at " + _TIME,
        "policy_id": """policy policy_id policyid pol logging_policy variant behavior_policy arm""",
        "propensity": """propensity propensity_score prop pscore probability action_prob""",
        "candidate_ids": """candidate_ids candidates cand action_set candidate candidate_items
        kandidaten""",
        "candidate_propensities": """candidate_propensities candidate_probs candp propensities
        probs probabilities action_dist pi""",
        "context_version": "context_version version ver context model_version",
    },
    "outcomes": {
        "request_id": """request_id requestid impression_id impressionid req request slate_id""",
        "item_id": "item_id " + _ITEM,
        "action": _ACTION + " outcome",
        "value": "value reward amount amount_eur betrag importe importo",
        "event_ts": _TIME,
    },
    "links": {
        "item_id": "item_id head head_id subject " + _ITEM,
        "relation": "relation relation_id predicate link_type beziehung relacion relazione",
        "target_id": "target_id target tail tail_id object entity entity_id ziel destino",
        "valid_from": _FROM,
    },
    "queries": {
        "query_id": "query_id queryid search_id searchid",
        "user_id": "user_id " + _USER,
        "event_ts": _TIME,
        "text": """query_text search_text search_query search_term searchterm search_phrase
        suchtext suchbegriff suchanfrage texto_busqueda testo_ricerca""",
        "request_id": "request_id requestid",
    },
}  # fmt: skip
"""Table -> contract column -> names, one word each."""

FILES: dict[str, str] = {
    "events": """events orders order trades trade transactions transaction interactions inter
    ratings clicks purchases log behaviors reviews history sales retail auftraege auftrage orders
    umsaetze umsatze transaktionen bewegungen kaeufe operaciones movimientos ordenes compras
    operazioni ordini movimenti acquisti train""",
    "items": """items item products product articles movies catalog catalogue assets asset
    securities instruments funds videos wertpapiere produkte artikel fonds productos valores
    articulos fondos activos prodotti titoli strumenti fondi anagrafica metadata meta""",
    "users": """users user customers customer clients client investors members people kunden
    anleger clientes inversores usuarios clienti investitori utenti""",
    "prices": """prices price close closes quotes nav kurse preise precios cotizaciones cierres
    prezzi quotazioni chiusure""",
    "exposures": """exposures exposure impressions shown slates recommendations empfehlungen
    mostrados""",
    "outcomes": "outcomes outcome responses feedback rewards",
    "links": "links link edges relations triples kg beziehungen relaciones relazioni",
    "queries": "queries query searches search suchanfragen busquedas consultas ricerche",
}  # fmt: skip
"""Table -> words in the names of its files."""

ACTIONS: dict[str, str] = {
    "buy": """buy b bought purchase purchased transaction order ordered subscribe subscription kauf
    k kaufen gekauft zeichnung compra c comprar suscripcion acquisto a acquistato sottoscrizione
    kauforder bid""",
    "sell": """sell s sold sale redeem redemption verkauf v verkaufen verkauft ruecknahme rucknahme
    venta vender reembolso vendita venduto rimborso ask""",
    "view": """view viewed pv impression detail page_view pageview ansicht gesehen vista ver visto
    visualizzazione watch play""",
    "click": """click clicked addtocart add_to_cart cart fav favorite like klick clic wishlist""",
    "dismiss": """dismiss dismissed hide dislike skip reject ablehnung rechazo rifiuto unlike""",
    "rate": "rate rated rating bewertung valoracion valutazione review",
}  # fmt: skip
"""Our action -> what others call it."""

RISKS: dict[str, str] = {
    "1": """conservative defensive low very_low sicherheit sicherheitsorientiert konservativ
    defensiv niedrig sehr_niedrig gering conservador bajo muy_bajo prudente conservativo basso
    molto_basso""",
    "2": """income moderate medium_low ertrag ertragsorientiert maessig massig moderado medio_bajo
    moderato medio_basso""",
    "3": """balanced medium growth ausgewogen mittel wachstum wachstumsorientiert equilibrado medio
    equilibrato bilanciato crecimiento crescita""",
    "4": """aggressive high very_high dynamic speculative hoch sehr_hoch chancenorientiert
    spekulativ dynamisch agresivo alto muy_alto arriesgado dinamico aggressivo speculativo
    molto_alto""",
}  # fmt: skip
"""Our risk class -> what others call it."""
_LEAST = 4
"""Letters of a word that says something inside a longer name."""


def plain(name: str) -> str:
    """Reduce a name to words: no accents, no case, no marks, no type of RecBole's headers.

    >>> plain("Kundennr."), plain("customerID"), plain("item_id:token"), plain("Gr\u00f6\u00dfe")
    ('kundennr', 'customer_id', 'item_id', 'grosse')
    """
    bare = re.sub(r":(token|float|token_seq|float_seq)$", "", name.strip())
    folded = unicodedata.normalize("NFKD", bare.replace("\u00df", "ss"))
    ascii_ = "".join(one for one in folded if not unicodedata.combining(one))
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", ascii_)
    return re.sub(r"[^a-z0-9]+", "_", split.lower()).strip("_")


def likeness(name: str, words: str) -> float:
    """Tell how well a name fits a list of words: 1 is one of them, 0 has nothing of them."""
    known = words.split()
    one = plain(name)
    joined = one.replace("_", "")
    if one in known or joined in {word.replace("_", "") for word in known}:
        return 1.0 - 0.001 * min((known.index(one) if one in known else 99), 99)
    parts = set(one.split("_"))
    telling = [word for word in known if len(word) >= _LEAST]
    if any(set(word.split("_")) <= parts for word in telling):
        return 0.6
    return 0.4 if any(joined.startswith(word.replace("_", "")) for word in telling) else 0.0


def named(value: str, names: dict[str, str]) -> str | None:
    """Return our word for a value."""
    one = plain(value)
    return next((ours for ours, words in names.items() if one in words.split()), None)
