"""Getting weights: the real command in its own process, huggingface_hub, and a hub on this computer that misbehaves."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import textwrap
from pathlib import Path
from urllib.parse import quote

import pytest
from hub_server import COMMIT, ENDLESS, Faults, Hub, safetensors_bytes

from stereodiff_blender.engine.contract import StereoDiffError
from stereodiff_blender.engine.weights import records
from stereodiff_blender.engine.weights.cards import read_card
from stereodiff_blender.engine.weights.events import WeightsEvent, parse_line
from stereodiff_blender.jobs import worker_process as jobs

CARD = read_card("monst3r")
CONFIG = b"{}".ljust(453)
WEIGHTS = "model.safetensors"
SMALL = 200_000
LARGE = 25_000_000
"""More than twice what huggingface_hub hands on at a time."""
needs_full_device = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")


@pytest.fixture
def hub():
    with Hub() as server:
        server.add(CARD.repository, "config.json", CONFIG)
        server.add(CARD.repository, WEIGHTS, safetensors_bytes(SMALL))
        yield server


@pytest.fixture
def models(tmp_path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def environment(hub, repository, tmp_path) -> dict[str, str]:
    """A user with nothing but a mirror: this hub."""
    inherited = {name: value for name, value in jobs.worker_environment(repository).items()
                 if not name.upper().startswith("HF_") and not name.upper().endswith("_PROXY")}
    home = str(tmp_path / "home")
    return inherited | {"HF_ENDPOINT": hub.address(), "HF_HOME": home, "HOME": home, "XDG_DATA_HOME": home,
                        "LOCALAPPDATA": home, "HF_HUB_ETAG_TIMEOUT": "2", "HF_HUB_DOWNLOAD_TIMEOUT": "2"}


@pytest.fixture(scope="session")
def worker_with_hub(worker_python) -> Path:
    if subprocess.run([worker_python, "-c", "import huggingface_hub"], capture_output=True, check=False).returncode:
        pytest.skip("the worker has no huggingface_hub here")
    return worker_python


@pytest.fixture
def weights(worker_with_hub, environment, models):
    """weights(verb, *options, **environment) -> the running process. Its events are for programs."""

    def start(verb: str, *options, model: str = "monst3r", **more: str) -> subprocess.Popen:
        command = [worker_with_hub, "-s", "-m", jobs.WORKER_MODULE, "weights", verb, model, *map(str, options),
                   "--models", models, "--json-events"]
        return subprocess.Popen(command, env=environment | more, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True)

    return start


def end_of(process: subprocess.Popen) -> WeightsEvent:
    """Wait; its last event, which has to agree with its exit status."""
    output, errors = process.communicate(timeout=60)
    event = parse_line(output.splitlines()[-1])
    assert (process.returncode, event.kind) in ((0, "finished"), (1, "failed")), errors
    assert "Traceback" not in errors
    return event


@pytest.fixture
def get(weights):
    """get() -> the last event of a download whose licence is accepted."""
    return lambda **more: end_of(weights("get", "--accept-licence", **more))


def left_in(models: Path) -> set[str]:
    """Every file of the model, half ones included."""
    return {path.relative_to(models / CARD.folder).as_posix() for path in (models / CARD.folder).rglob("*")
            if path.is_file() and path.name != "lock"}


def partials(models: Path) -> list[Path]:
    return [path for path in (models / CARD.folder / records.PARTIAL_FOLDER).glob("*") if path.name != "lock"]


# --- Whole -----------------------------------------------------------------------------------------------------

def test_all_files_arrive_and_are_remembered(hub, get, models):
    assert get().message == "2 files of MonST3R downloaded."
    for name, content in (("config.json", CONFIG), (WEIGHTS, safetensors_bytes(SMALL))):
        assert (models / CARD.folder / name).read_bytes() == content
        known = records.read_record(models, CARD).files[name]
        assert (known.size, known.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert left_in(models) == {"config.json", WEIGHTS}
    assert records.read_record(models, CARD).commit == COMMIT
    assert records.look(models, CARD).state == "ready"


def test_what_is_there_does_not_come_again(hub, get, models):
    get()
    hub.requests.clear()
    assert get().message == "MonST3R is there already."
    assert hub.of("GET") == []


def test_a_missing_file_comes_alone(hub, get, models):
    get()
    (models / CARD.folder / "config.json").unlink()
    assert records.look(models, CARD).state == "incomplete"
    hub.requests.clear()
    assert get().kind == "finished"
    assert [request.path.rpartition("/")[2] for request in hub.of("GET")] == ["config.json"]


def test_every_file_is_asked_for_at_one_commit(hub, get, models):
    get()
    assert [request.path.split("/resolve/")[1] for request in hub.of("HEAD")][:2] == [
        "main/config.json", f"{COMMIT}/{WEIGHTS}"]


def test_main_may_move_on(hub, get, models):
    """No commit is pinned for this model: that of the first download stays."""
    get()
    (models / CARD.folder / "config.json").unlink()
    hub.commits[CARD.repository] = "9" * 40
    assert get().kind == "finished"
    assert records.read_record(models, CARD).commit == COMMIT


def test_a_pinned_model_in_folders_of_its_own(hub, weights, models):
    card = read_card("stable-video-diffusion")
    for number, file in enumerate(card.files):
        content = CONFIG if file.name.endswith(".json") else safetensors_bytes(SMALL, number)
        hub.add(card.repository, file.name, content)
    assert end_of(weights("get", "--accept-licence", model=card.model)).kind == "finished"
    assert all((models / card.folder / file.name).is_file() for file in card.files)
    assert {request.path.split("/")[4] for request in hub.of("GET", "hub")} == {card.revision}


def test_nothing_else_is_asked_or_told(hub, get):
    get()
    assert all("/resolve/" in request.path for request in hub.requests if request.server == "hub")
    assert not any("torch" in request.headers["user-agent"] for request in hub.requests)


def test_progress_counts_bytes_of_all_files(hub, weights):
    output, _ = weights("get", "--accept-licence").communicate(timeout=60)
    events = [parse_line(line) for line in output.splitlines()]
    sent = [event for event in events if event.kind == "progress" and event.step.startswith("Downloading")]
    whole = len(CONFIG) + len(safetensors_bytes(SMALL))
    assert sent[-1].done == sent[-1].total == whole
    assert [event.done for event in sent] == sorted(event.done for event in sent)


# --- Interrupted -----------------------------------------------------------------------------------------------

def test_a_cut_connection_is_gone_on_with(hub, get, models):
    content = hub.add(CARD.repository, WEIGHTS, safetensors_bytes(LARGE))
    hub.faults.cuts = [12_000_000]
    assert get().kind == "finished"
    first, second = hub.of("GET", "storage")
    assert first.range == "" and second.range == "bytes=10485760-"
    assert (models / CARD.folder / WEIGHTS).read_bytes() == content


def test_a_killed_download_is_gone_on_with(hub, weights, get, models):
    content = hub.add(CARD.repository, WEIGHTS, safetensors_bytes(LARGE))
    hub.faults.stalls_after = 12_000_000
    process = weights("get", "--accept-licence", HF_HUB_DOWNLOAD_TIMEOUT="60")
    for line in process.stdout:
        event = parse_line(line)
        if event.step.endswith(WEIGHTS) and event.done > 10_000_000:
            break
    process.kill()
    process.communicate()
    assert left_in(models) == {"config.json", *(path.relative_to(models / CARD.folder).as_posix()
                                                for path in partials(models))}
    assert [path.stat().st_size for path in partials(models)] == [10_485_760]
    assert records.look(models, CARD).state == "incomplete"
    hub.faults = Faults()
    assert get().kind == "finished"
    assert hub.of("GET", "storage")[-1].range == "bytes=10485760-"
    assert (models / CARD.folder / WEIGHTS).read_bytes() == content
    assert partials(models) == []


def test_half_a_file_of_another_version_is_not_gone_on_with(hub, weights, get, models):
    hub.add(CARD.repository, WEIGHTS, safetensors_bytes(LARGE))
    hub.faults.stalls_after = 12_000_000
    process = weights("get", "--accept-licence", HF_HUB_DOWNLOAD_TIMEOUT="60")
    next(line for line in process.stdout if parse_line(line).done > 10_000_000)
    process.kill()
    process.communicate()
    hub.faults = Faults()
    content = hub.add(CARD.repository, WEIGHTS, safetensors_bytes(LARGE, seed=1))
    assert get().kind == "finished"
    assert hub.of("GET", "storage")[-1].range == ""
    assert (models / CARD.folder / WEIGHTS).read_bytes() == content


def test_a_slow_server_is_waited_for(hub, get, models):
    hub.faults.pause_s = 0.2
    assert get().kind == "finished"


def test_a_server_that_does_not_answer_is_not_waited_for_for_ever(hub, get):
    hub.faults.silent = True
    assert get(HF_HUB_ETAG_TIMEOUT="1").code == "download_interrupted"


def test_one_program_at_a_time(hub, weights, get):
    hub.faults.stalls_after = 1000
    first = weights("get", "--accept-licence", HF_HUB_DOWNLOAD_TIMEOUT="60")
    next(line for line in first.stdout if "Downloading" in line)
    assert get().code == "download_running"
    first.kill()
    first.communicate()


# --- Refused ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("status", "error_code", "code"), [
    (401, "GatedRepo", "download_denied"), (403, "GatedRepo", "download_denied"), (403, "", "download_denied"),
    (401, "RepoNotFound", "download_denied"), (404, "RepoNotFound", "download_not_found"),
    (404, "RevisionNotFound", "download_not_found"), (404, "EntryNotFound", "download_not_found"),
    (404, "", "download_not_found"), (503, "", "download_interrupted"), (429, "", "download_interrupted"),
])
def test_every_refusal_has_its_code(hub, get, models, status, error_code, code):
    hub.faults = Faults(status=status, error_code=error_code)
    assert get().code == code
    assert left_in(models) == set()


def test_a_denied_model_names_its_page(hub, get):
    hub.faults.status = 401
    assert CARD.source in get().message


def test_nobody_there(get):
    assert get(HF_ENDPOINT="http://127.0.0.1:9").code == "download_offline"


def test_a_page_to_sign_in_is_no_hub(hub, get):
    hub.faults.no_commit = True
    assert get().code == "download_offline"


def test_an_offline_setting_of_the_user_is_respected(hub, get):
    event = get(HF_HUB_OFFLINE="1")
    assert event.code == "download_offline" and "HF_HUB_OFFLINE" in event.message
    assert hub.requests == []


def test_a_wrong_hash_leaves_nothing(hub, get, models):
    hub.faults.claimed_sha256 = "0" * 64
    assert get().code == "download_wrong_file"
    assert left_in(models) == {"config.json"}


def test_no_safetensors_file_is_kept(hub, get, models):
    hub.add(CARD.repository, WEIGHTS, b"<html>" + bytes(SMALL))
    event = get()
    assert event.code == "download_wrong_file" and "no safetensors" in event.message
    assert left_in(models) == {"config.json"}


def test_a_mirror_with_another_file_than_the_first_time(hub, weights, get, models):
    get()
    assert end_of(weights("remove")).message == "2 files of MonST3R deleted."
    assert left_in(models) == set()
    hub.add(CARD.repository, WEIGHTS, safetensors_bytes(SMALL, seed=1))
    assert get().code == "download_wrong_file"
    hub.add(CARD.repository, WEIGHTS, safetensors_bytes(SMALL))
    assert get().kind == "finished"


def test_a_mirror_with_another_commit(hub, weights, models):
    card = read_card("depthcrafter")
    hub.add(card.repository, "config.json", CONFIG)
    hub.faults.claimed_commit = "9" * 40
    event = end_of(weights("get", "--accept-licence", model=card.model))
    assert event.code == "download_wrong_file" and card.revision[:12] in event.message


def test_too_large_for_the_disk_is_known_before(hub, get, models):
    hub.faults.claimed_size = 10**15
    event = get()
    assert event.code == "models_disk_full" and "1000000.0 GB" in event.message
    assert hub.of("GET") == []


@needs_full_device
def test_a_disk_that_fills_up_meanwhile(hub, weights, get, models):
    """The half file is a link to a device that has no room for a single byte."""
    hub.faults.stalls_after = 0
    process = weights("get", "--accept-licence", HF_HUB_DOWNLOAD_TIMEOUT="60")
    while not partials(models):
        assert process.poll() is None
    while not hub.of("GET", "storage"):
        assert process.poll() is None
    process.kill()
    process.communicate()
    half = next(path for path in partials(models) if path.name.startswith(WEIGHTS))
    half.unlink()
    half.symlink_to("/dev/full")
    hub.faults = Faults()
    assert get().code == "models_disk_full"
    assert not (models / CARD.folder / WEIGHTS).exists()


@pytest.mark.skipif(os.name == "nt" or os.environ.get("USER") == "root" or os.geteuid() == 0, reason="root may write")
def test_a_folder_that_cannot_be_written(get, models):
    models.mkdir()
    models.chmod(0o500)
    assert get().code == "models_folder_not_writable"


def test_a_file_where_the_folder_should_be(get, models):
    models.write_text("")
    assert get().code == "models_folder_not_writable"


# --- Without an end --------------------------------------------------------------------------------------------

@pytest.fixture
def get_roughly(worker_with_hub, environment, models):
    """get_roughly(rough_size) -> "" or the code of a download by a card that knows no more than that of the file.

    is_filling: after the first piece, others have filled the disk; the spare room stands for what they left.
    """
    script = textwrap.dedent("""
        import sys
        from dataclasses import replace
        from pathlib import Path
        from stereodiff_blender.engine.contract import StereoDiffError
        from stereodiff_blender.engine.weights import transfer
        from stereodiff_blender.engine.weights.cards import ModelFile, read_card
        models, rough_size, is_filling = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "True"
        card = replace(read_card("monst3r"), files=(ModelFile("model.safetensors", rough_size=rough_size),))

        def on_bytes(step, done, total):
            transfer.SPARE_BYTES = 10**18 if is_filling else transfer.SPARE_BYTES

        try:
            transfer.download(models, card, on_bytes)
        except StereoDiffError as error:
            sys.stdout.write(error.code)
    """)

    def call(rough_size: int, is_filling: bool = False) -> str:
        command = [worker_with_hub, "-c", script, models, str(rough_size), str(is_filling)]
        done = subprocess.run(command, env=environment | {"HF_HUB_DISABLE_TELEMETRY": "1"}, capture_output=True,
                              text=True, check=False, timeout=60)
        assert done.returncode == 0 and not done.stderr, done.stderr
        return done.stdout

    return call


@pytest.mark.parametrize("server", ["storage", "hub"])
def test_a_body_without_an_end_is_not_taken(hub, get, models, server):
    """The weights from the storage, config.json from the hub itself; it ends only after ENDLESS bytes."""
    hub.faults.endless = server
    assert get().code == "download_wrong_file"
    assert hub.sent_bytes < ENDLESS
    assert left_in(models) <= {"config.json"}


def test_without_any_size_the_card_says_when_to_stop(hub, get_roughly, models):
    hub.faults.endless, hub.faults.no_size = "storage", True
    assert get_roughly(1_000_000) == "download_wrong_file"
    assert hub.sent_bytes < ENDLESS
    assert left_in(models) == set()


def test_of_a_file_without_a_rough_size_little_is_taken(hub, get_roughly, models):
    hub.faults.endless, hub.faults.no_size = "storage", True
    assert get_roughly(0) == "download_wrong_file"
    assert hub.sent_bytes < ENDLESS
    assert left_in(models) == set()


@pytest.mark.parametrize(("rough_size", "code"), [(190_000, ""), (150_000, "download_wrong_file")])
def test_a_rough_size_holds_up_to_a_tenth(hub, get_roughly, rough_size, code):
    assert get_roughly(rough_size) == code
    assert bool(hub.of("GET")) == (code == "")


@pytest.mark.parametrize("server", ["storage", "hub"])
def test_what_is_sent_packed_is_not_unpacked(hub, get, models, server):
    hub.faults.packed = server
    event = get()
    assert event.code == "download_wrong_file" and "packed" in event.message
    assert left_in(models) <= {"config.json"}


def test_nothing_is_asked_for_packed(hub, get):
    get()
    assert {request.headers["accept-encoding"] for request in hub.requests} == {"identity"}


@pytest.mark.parametrize("server", ["storage", "hub"])
def test_what_a_refusal_says_is_not_read_to_its_end(hub, get, server):
    hub.faults.refusing = server
    assert get().code == "download_not_found"
    assert hub.sent_bytes < ENDLESS / 2


def test_what_a_redirect_says_is_not_read_to_its_end(hub, get):
    hub.faults.sends_on = {"storage": f"{hub.address('elsewhere')}/x"}
    get()
    assert hub.of("GET", "elsewhere") and hub.sent_bytes < ENDLESS / 2


def test_the_spare_room_is_kept_all_the_way(hub, get_roughly, models):
    """And what has come is kept for the next download."""
    content = hub.add(CARD.repository, WEIGHTS, safetensors_bytes(LARGE))
    assert get_roughly(LARGE, is_filling=True) == "models_disk_full"
    assert [path.stat().st_size for path in partials(models)] == [10_485_760]
    assert get_roughly(LARGE) == ""
    assert (models / CARD.folder / WEIGHTS).read_bytes() == content


def test_numbers_that_are_none(hub, get, models):
    hub.faults.junk = "storage"
    assert get().code == "download_wrong_file"
    assert left_in(models) == {"config.json"}


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
    assert hub.of("GET", "elsewhere")
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
    assert all(request.path.startswith("http://models.invalid/") for request in hub.of("HEAD"))


# --- The licence -----------------------------------------------------------------------------------------------

def test_without_acceptance_nothing_is_asked_of_the_network(hub, weights, models):
    process = weights("get")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and "error licence_not_accepted" in errors
    assert " ".join(CARD.terms.split())[:60] in " ".join(errors.split())
    assert hub.requests == [] and not models.exists()


def test_an_acceptance_is_kept(hub, weights, get, tmp_path):
    get()
    kept = json.loads((next((tmp_path / "home").rglob("licences.json"))).read_text())["accepted"]["monst3r"]
    assert kept["licence"] == CARD.licence and kept["terms_hash"] == CARD.terms_hash and len(kept["date"]) == 10
    assert end_of(weights("get")).kind == "finished"


# --- Afterwards ------------------------------------------------------------------------------------------------

def test_a_changed_file_is_noticed(hub, weights, get, models):
    get()
    path = models / CARD.folder / WEIGHTS
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert records.look(models, CARD).state == "unchecked"
    assert end_of(weights("verify")).code == "weights_damaged"
    with pytest.raises(StereoDiffError) as raised:
        records.refuse_changed(models, CARD)
    assert raised.value.code == "weights_damaged"
    assert get().message == "1 file of MonST3R downloaded."
    assert end_of(weights("verify")).message == "MonST3R is whole."


def test_a_file_of_the_users_is_not_taken_on_trust(hub, get, models):
    """What lies there already is compared with what the hub promises."""
    (models / CARD.folder).mkdir(parents=True)
    (models / CARD.folder / WEIGHTS).write_bytes(safetensors_bytes(SMALL, seed=7))
    assert get().message == "2 files of MonST3R downloaded."


def test_a_download_takes_the_place_of_a_folder_of_ones_own(hub, weights, get, models, tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    (own / "config.json").write_bytes(CONFIG)
    (own / WEIGHTS).write_bytes(safetensors_bytes(SMALL, seed=3))
    assert end_of(weights("use", own)).kind == "finished"
    assert records.model_folder(models, CARD) == own
    assert get().kind == "finished"
    assert records.model_folder(models, CARD) == models / CARD.folder
    assert (own / WEIGHTS).is_file()
