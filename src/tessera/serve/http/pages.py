"""A page for people: it loads nothing, runs nothing and is framed by nobody."""

from __future__ import annotations

from fastapi.responses import HTMLResponse

_SAFE = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
}


def as_page(text: str, status: int = 200) -> HTMLResponse:
    """Answer with a page that was rendered."""
    return HTMLResponse(text, status, _SAFE)
