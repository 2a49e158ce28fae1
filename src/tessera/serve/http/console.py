"""The console: pages of plain HTML and forms, for people with a key of role viewer or operator.

A session is a signed cookie of this service (HttpOnly, SameSite=strict); every form carries the
token of its session.  Nothing is loaded from elsewhere and no script runs.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, FastAPI, Form, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment
from starlette.concurrency import run_in_threadpool
from starlette.middleware.sessions import SessionMiddleware

from tessera.contracts.pages import templates
from tessera.serve.clock import Clock
from tessera.serve.engine import Engine
from tessera.serve.events import Event
from tessera.serve.http.bodies import Id
from tessera.serve.http.figures import Recently
from tessera.serve.http.investors import last
from tessera.serve.http.keys import ROLES, Key, Keys
from tessera.serve.http.pages import as_page
from tessera.serve.http.problems import Refused
from tessera.serve.http.shown import shown
from tessera.serve.http.versions import Versions
from tessera.serve.service import Service
from tessera.serve.slate import Slate
from tessera.serve.telling import let_go

_HISTORY = 20
_SESSION_S = 8 * 3600
_SOME = 8
Written = Annotated[str, Form(max_length=256)]


@dataclass(frozen=True, slots=True)
class Console:
    """What the pages are made from."""

    service: Service
    clock: Clock
    keys: Keys
    pages: Environment
    others: Versions
    recently: Recently

    def key(self, request: Request) -> Key | None:
        """Return the key that a session was begun with; it ends with its key."""
        mark = request.session.get("key", "")
        return self.keys.marked(mark) if mark else None

    def may(self, request: Request, what: str) -> bool:
        """Tell whether the session may do something."""
        key = self.key(request)
        return key is not None and what in ROLES[key.role]

    def page(self, request: Request, name: str, status: int = 200, **told: Any) -> HTMLResponse:
        """Render a page."""
        session, engine = request.session, self.service.engine
        token = session.setdefault("csrf", secrets.token_urlsafe(16))
        key = self.key(request)
        role = key.role if key else None
        known = {"version": engine.version, "policy": engine.told()} if role else {}
        text = self.pages.get_template(name).render(
            **{"csrf": token, "role": role, "version": None, **known, **told}
        )
        return as_page(text, status)

    def investor(self, request: Request, user_id: str) -> Response:
        """Show what is known of an investor and what would be shown now."""
        self.service.catch_up()
        engine, moment = self.service.arms.of(user_id), self.clock.now()
        now = engine.scorer.now(user_id, moment)
        who = engine.who(user_id, now)
        slate = self._slate(engine, user_id, moment)
        let_go(engine, user_id, moment)
        history = [
            {**one.model_dump(), **engine.people.facts(one.item_id)}
            for one in last(engine, now.past, _HISTORY)
        ]
        return self.page(
            request,
            "investor.html",
            who=who,
            held=_named(engine, who.held),
            dismissed=_named(engine, who.dismissed),
            slate=shown(slate, engine),
            evidence=engine.people.evidence(who, slate),
            history=history,
            events=len(now.past),
            may_act=self.may(request, "operate"),
            versions=self.others.versions(),
            answers=engine.version,
        )

    def compared(self, request: Request, user_id: str, version: str) -> Response:
        """Show what two versions would show an investor now, drawn with the same seed."""
        engine, moment = self.service.arms.of(user_id), self.clock.now()
        seed = secrets.token_hex(8)

        def side(one: Engine) -> dict[str, Any]:
            slate = one.answer(seed, user_id, moment, engine.slate_size)
            let_go(one, user_id, moment)
            return {"version": one.version, "policy": one.told(), "slate": shown(slate, one)}

        sides, wrong = [side(engine)], None
        try:
            with self.others.opened(version) as other:
                sides.append(side(other))
        except Refused as refused:
            wrong = str(refused)
        items = ({one.item_id for one in each["slate"]} for each in sides)
        return self.page(
            request,
            "compare.html",
            404 if wrong else 200,
            investor=user_id,
            sides=sides,
            wrong=wrong,
            both=set.intersection(*items),
        )

    def live(self, request: Request) -> Response:
        """Show what the last minutes were like."""
        return self.page(request, "live.html", figures=self.recently.look())

    def _slate(self, engine: Engine, user_id: str, moment: int) -> Slate:
        return engine.answer(secrets.token_hex(8), user_id, moment, engine.slate_size)


def _named(engine: Engine, items: tuple[str, ...]) -> list[str]:
    return [engine.people.facts(item)["name"] for item in items if item in engine.item_row]


def add_console(
    app: FastAPI,
    service: Service,
    clock: Clock,
    keys: Keys,
    *,
    secure: bool = False,
    session_secret: str | None = None,
) -> None:
    """Add the pages to an application; `secure` keeps cookies to TLS.

    Processes that share a secret know each other's sessions.
    """
    console = Console(
        service, clock, keys, templates("tessera.serve.http"), Versions(service), Recently()
    )
    router = APIRouter(prefix="/console", include_in_schema=False)
    _entrance(router, console)
    _pages(router, console)
    _looks(router, console)
    _acts(router, console)
    app.include_router(router)

    @app.get("/", include_in_schema=False)
    async def door() -> Response:
        return RedirectResponse("/console", 303)

    app.add_middleware(
        SessionMiddleware,
        secret_key=session_secret or secrets.token_hex(32),
        session_cookie="tessera_console",
        max_age=_SESSION_S,
        same_site="strict",
        https_only=secure,
    )


def _entrance(router: APIRouter, console: Console) -> None:
    @router.post("/login")
    async def login(request: Request, key: Written = "", csrf: Written = "") -> Response:
        _require_token(request, csrf)
        found = console.keys.find(key)
        if found is None or "view" not in ROLES[found.role]:
            return console.page(request, "login.html", 403, wrong=True)
        request.session.clear()
        request.session["key"] = found.mark
        return RedirectResponse("/console", 303)

    @router.post("/logout")
    async def logout(request: Request, csrf: Written = "") -> Response:
        _require_token(request, csrf)
        request.session.clear()
        return RedirectResponse("/console", 303)


def _pages(router: APIRouter, console: Console) -> None:
    @router.get("")
    async def home(request: Request) -> Response:
        if not console.may(request, "view"):
            return console.page(request, "login.html", wrong=False)
        engine = console.service.engine
        return console.page(
            request,
            "home.html",
            some=engine.scorer.ranker.histories.user_id_U[:_SOME],
            identity=engine.identity,
            events=engine.scorer.state.version,
        )

    @router.get("/investor")
    async def investor(request: Request, id: Annotated[Id, Query()]) -> Response:
        if not console.may(request, "view"):
            return RedirectResponse("/console", 303)
        return await run_in_threadpool(console.investor, request, id)


def _looks(router: APIRouter, console: Console) -> None:
    @router.get("/compare")
    async def compare(
        request: Request, id: Annotated[Id, Query()], beside: Annotated[Id, Query()]
    ) -> Response:
        if not console.may(request, "view"):
            return RedirectResponse("/console", 303)
        return await run_in_threadpool(console.compared, request, id, beside)

    @router.get("/live")
    async def live(request: Request) -> Response:
        if not console.may(request, "view"):
            return RedirectResponse("/console", 303)
        return console.live(request)


def _acts(router: APIRouter, console: Console) -> None:
    @router.post("/events")
    async def act(
        request: Request,
        investor: Annotated[Id, Form()],
        item: Annotated[Id, Form()],
        action: Annotated[str, Form(pattern="^(click|buy|dismiss)$")],
        csrf: Written = "",
    ) -> Response:
        _require_token(request, csrf)
        if not console.may(request, "operate"):
            raise Refused(403, "Not allowed", "this needs a key of role operator")
        name = f"console-{secrets.token_hex(8)}"
        event = Event(name, investor, item, action, console.clock.now(), channel="console")
        try:
            await run_in_threadpool(console.service.happened, [event])
        except (OSError, TimeoutError) as error:
            raise Refused(503, "Log cannot be written", "nothing was taken in") from error
        return RedirectResponse(f"/console/investor?{urlencode({'id': investor})}#slate", 303)


def _require_token(request: Request, given: str) -> None:
    token = request.session.get("csrf", "")
    if not token or not hmac.compare_digest(token.encode(), given.encode()):
        raise Refused(403, "Not allowed", "the form is of another session: load its page again")
