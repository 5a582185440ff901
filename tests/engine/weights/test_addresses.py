"""Getting weights where addresses lead astray: keys go to the hub alone, and nobody's are shown."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hub_server import CARD, Faults, left_in, partials

from stereodiff_blender.engine.weights.events import parse_line

# --- Sent astray -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("server", "address"), [
    ("storage", "file:///etc/passwd"), ("hub", "file:///etc/passwd"), ("storage", "ftp://127.0.0.1/x"),
    ("hub", "http://["), ("storage", "x://y"),
])
def test_addresses_that_are_none_of_the_web(hub, get, models, server, address):
    hub.faults.sends_on = {server: address}
    event = get()
    assert event.code == "download_address_invalid" and "127.0.0.1" in event.message
    assert left_in(models) <= {"config.json"} | {path.relative_to(models / CARD.folder).as_posix()
                                                 for path in partials(models) if path.stat().st_size == 0}


@pytest.mark.slow
def test_sent_round_and_round(hub, get):
    hub.faults.sends_on = {"storage": f"{hub.address('storage')}/again"}
    assert get().code == "download_address_invalid"


@pytest.mark.parametrize("address", ["nonsense", "http://", "http://[", "file:///etc", "http://host:port",
                                     "http://jane:hun/ter2@127.0.0.1:9"])
def test_a_mirror_that_is_no_address(weights, address):
    process = weights("get", "--accept-licence", HF_ENDPOINT=address)
    output, errors = process.communicate(timeout=60)
    event = parse_line(output)
    assert event.code == "download_address_invalid" and "HF_ENDPOINT" in event.message
    assert "hun" not in output + errors


@pytest.mark.parametrize(("name", "address"), [
    ("HTTP_PROXY", "nonsense://jane:hunter2@127.0.0.1:9"), ("HTTPS_PROXY", "http://jane:hun/ter2@127.0.0.1:9"),
    ("ALL_PROXY", "socks5://jane:hunter2@127.0.0.1:9"), ("HTTP_PROXY", "http://127.0.0.1:port"),
])
def test_a_proxy_that_is_no_address(weights, name, address):
    process = weights("get", "--accept-licence", **{name: address})
    output, errors = process.communicate(timeout=60)
    event = parse_line(output.splitlines()[-1])
    assert process.returncode == 1 and event.code == "download_address_invalid"
    assert name in event.message and "hun" not in output + errors
    assert "Traceback" not in errors and "remedy: " in errors


def test_certificates_that_are_not_there(get, tmp_path):
    event = get(SSL_CERT_FILE=str(tmp_path / "none.pem"))
    assert event.code == "download_offline" and "SSL_CERT_FILE" in event.message


# --- The user's environment ------------------------------------------------------------------------------------

def test_the_token_goes_to_the_hub_and_to_nobody_else(hub, get):
    assert get(HF_TOKEN="hf_secret").kind == "finished"
    seen = {request.server: request.headers.get("authorization") for request in hub.requests}
    assert seen == {"hub": "Bearer hf_secret", "storage": None}


@pytest.mark.parametrize(("server", "has_xet", "address"), [
    ("storage", False, "http://127.0.0.1:{port}/x"), ("storage", True, "//127.0.0.1:{port}/x"),
    ("hub", False, "//127.0.0.1:{port}/x"), ("hub", True, "http://127.0.0.1:{port}/x"),
    ("hub", False, "http://localhost:{port}/x"),
])
def test_the_token_is_not_sent_on(hub, get, server, address, has_xet):
    """To another port or host, from the hub itself and from its storage, whichever way the file comes."""
    hub.faults.sends_on = {server: address.format(port=hub.address("elsewhere").rpartition(":")[2])}
    hub.faults.has_xet = has_xet
    get(HF_TOKEN="hf_secret")
    assert hub.asked("GET", "elsewhere")
    assert all("hf_secret" not in str(request.headers) for request in hub.requests if request.server != "hub")
    assert any("hf_secret" in str(request.headers) for request in hub.requests)


PASSWORD = "hunter2/and@more"


@pytest.mark.parametrize(("path", "status", "password"), [
    ("127.0.0.1:9", 0, "hunter2@more"), ("mirror.invalid", 0, "hunter2"), ("", 404, "hunter2@more"),
    ("", 503, "hunter2"), ("", 401, quote(PASSWORD, safe="")), ("", 200, quote(PASSWORD, safe="")),
])
def test_the_password_of_a_mirror_is_not_shown(hub, weights, path, status, password):
    """To nobody who reads the panel or the terminal; the host is."""
    hub.faults = Faults(status=status, no_commit=status == 200)
    host = path or hub.address().removeprefix("http://")
    process = weights("get", "--accept-licence", HF_ENDPOINT=f"http://jane:{password}@{host}")
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and parse_line(output.splitlines()[-1]).kind == "failed"
    assert "hunter2" not in output + errors and "more" not in output + errors
    assert "Traceback" not in errors


def test_the_password_of_a_proxy_is_not_shown(hub, weights):
    process = weights("get", "--accept-licence", HF_ENDPOINT="http://models.invalid",
                      HTTP_PROXY="http://jane:hunter2@127.0.0.1:9")
    output, errors = process.communicate(timeout=60)
    assert parse_line(output.splitlines()[-1]).code == "download_offline"
    assert "hunter2" not in output + errors


@pytest.mark.slow
def test_the_signature_of_a_storage_is_not_shown(hub, weights):
    """Also not in what huggingface_hub itself writes while it tries again."""
    hub.faults.sends_on = {"storage": "http://127.0.0.1:9/x?X-Amz-Signature=0123456789abcdef"}
    process = weights("get", "--accept-licence", HF_HUB_DOWNLOAD_TIMEOUT="1")
    output, errors = process.communicate(timeout=120)
    assert parse_line(output.splitlines()[-1]).kind == "failed"
    assert "0123456789abcdef" not in output + errors


def test_the_proxy_is_used(hub, get):
    """The address does not exist: only whoever asks the proxy gets an answer."""
    event = get(HF_ENDPOINT="http://models.invalid", HTTP_PROXY=hub.address(), NO_PROXY="127.0.0.1")
    assert event.kind == "finished", event
    assert all(request.path.startswith("http://models.invalid/") for request in hub.asked("HEAD"))
