"""How huggingface_hub speaks to the network here: what no answer may do, and what its own words may not show."""

from __future__ import annotations

import logging
import os
from urllib.parse import urljoin, urlsplit

import httpx2
from huggingface_hub import constants, get_session, set_client_factory

from ..contract import StereoDiffError
from ..contract.redaction import redact

_WEB = ("http", "https")
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def open_connection() -> None:
    """Have huggingface_hub take its connections from here, through the proxies of the user's environment.

    Raises StereoDiffError "download_address_invalid" for a proxy that cannot be used, "download_offline" for
    certificates that cannot be.
    """
    for handler in logging.getLogger("huggingface_hub").handlers:
        handler.addFilter(_without_keys)
    set_client_factory(_client)
    try:
        get_session()
    except OSError as error:
        raise StereoDiffError("download_offline", "The certificates that SSL_CERT_FILE or SSL_CERT_DIR names cannot be "
                                                  "used.") from error
    except (ValueError, ImportError, httpx2.InvalidURL) as error:  # ImportError: SOCKS would need one more package
        named = " or ".join(name for name in os.environ if name.upper() in _PROXIES) or "The proxy of this computer"
        raise StereoDiffError("download_address_invalid", f"{named} is set to what cannot be used.") from error


def host_of(address: str) -> str:
    """Host and port of an address, for people; never the login before it."""
    try:
        return urlsplit(address).netloc.rpartition("@")[2] or "The server"
    except ValueError:  # brackets that do not match
        return "The server"


def _client() -> httpx2.Client:
    hooks = {"request": [_refuse_offline], "response": [_leave_unread, _refuse_redirect, _refuse_packed]}
    return httpx2.Client(event_hooks=hooks, follow_redirects=True, timeout=None)


def _refuse_offline(_request: httpx2.Request) -> None:
    if constants.is_offline_mode():
        raise StereoDiffError("download_offline", "HF_HUB_OFFLINE is set.")


def _leave_unread(response: httpx2.Response) -> None:
    """What a redirect or a refusal says besides would be read into memory whole, and may have no end."""
    if response.status_code >= 300 and response.request.method == "GET":
        response.stream.close()
        response.stream = httpx2.ByteStream(b"")
        response.headers.pop("Content-Encoding", None)


def _refuse_redirect(response: httpx2.Response) -> None:
    """One that leads to anything but a web server."""
    if response.has_redirect_location and not _is_of_the_web(str(response.url), response.headers["Location"]):
        raise StereoDiffError("download_address_invalid", f"{host_of(str(response.url))} sends on to what is no web "
                                                          "server.")


def _is_of_the_web(base: str, location: str) -> bool:
    try:
        url = httpx2.URL(urljoin(base, location))
    except (ValueError, httpx2.InvalidURL):
        return False
    return url.scheme in _WEB and bool(url.host)


def _refuse_packed(response: httpx2.Response) -> None:
    """Nobody asked for that, and a small packed file may be one of any size."""
    encoding = response.headers.get("Content-Encoding", "identity")
    if response.request.method == "GET" and encoding.lower() != "identity":
        raise StereoDiffError("download_wrong_file", f"The file comes packed from {host_of(str(response.url))} "
                                                     f"({encoding[:20]}).")


def _without_keys(record: logging.LogRecord) -> bool:
    record.msg, record.args = redact(record.getMessage()), ()
    return True
