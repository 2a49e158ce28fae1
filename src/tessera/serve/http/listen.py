"""Where the service listens: on this machine alone, or behind TLS, or as somebody insists."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tessera.contracts.errors import BadParams
from tessera.serve.http.patient import Patient


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port, with TLS or without."""

    host: str = "127.0.0.1"
    port: int = 8000
    certificate: Path | None = None
    private_key: Path | None = None

    @property
    def secure(self) -> bool:
        """Whether it is behind TLS."""
        return self.certificate is not None

    @property
    def url(self) -> str:
        """What to type into a browser."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.secure else 'http'}://{host}:{self.port}"

    def checked(self, without_tls: bool = False, open_metrics: bool = False) -> Address:
        """Return it if it may be listened on.

        Parameters
        ----------
        without_tls : bool
            Keys and slates may be read by whoever is on the way.
        open_metrics : bool
            Figures are for whoever asks from this machine.

        Raises
        ------
        BadParams
            If others could read along, or certificate and key do not fit.
        """
        if without_tls and open_metrics:
            raise BadParams(
                "serve.open_metrics opens /metrics to this machine, and behind a proxy everybody "
                "seems to be on it: set it to false and give Prometheus a key of role viewer, or "
                "leave out --without-tls"
            )
        if (self.certificate is None) != (self.private_key is None):
            raise BadParams("TLS needs both --certificate and --private-key")
        if self.certificate is not None and self.private_key is not None:
            _check_pair(self.certificate, self.private_key)
        elif not (without_tls or _is_near(self.host)):
            raise BadParams(
                f"{self.host} is reached from other machines, which could read keys and slates: "
                "give --certificate and --private-key, or --without-tls behind a proxy that has it"
            )
        return self

    def options(self) -> dict[str, Any]:
        """Return what uvicorn is told."""
        return {
            "host": self.host,
            "port": self.port,
            "ssl_certfile": self.certificate,
            "ssl_keyfile": self.private_key,
            "http": Patient,
            "ws": "none",
            "log_config": None,
            "access_log": False,
            "server_header": False,
            "proxy_headers": False,
        }


def _is_near(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_pair(certificate: Path, private_key: Path) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, private_key)
    except (OSError, ssl.SSLError) as error:
        raise BadParams(
            f"{certificate} and {private_key} are no certificate with its key: {error}"
        ) from error
