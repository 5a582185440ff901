"""Getting weights: the real command in its own process, huggingface_hub, and a hub on this computer that misbehaves."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest
from hub_server import CARD, COMMIT, CONFIG, LARGE, SMALL, WEIGHTS, Faults, end_of, left_in, partials, safetensors_bytes

from stereodiff_blender.engine.contract import StereoDiffError
from stereodiff_blender.engine.weights import records
from stereodiff_blender.engine.weights.cards import read_card
from stereodiff_blender.engine.weights.events import parse_line

needs_full_device = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")


# --- Whole -----------------------------------------------------------------------------------------------------

def test_all_files_arrive_and_are_remembered(hub, get, models):
    assert get().message == "2 files of MonST3R downloaded."
    for name, content in (("config.json", CONFIG), (WEIGHTS, safetensors_bytes(SMALL))):
        assert (models / CARD.folder / name).read_bytes() == content
        known = records.read_record(models, CARD).files[name]
        assert (known.size, known.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert left_in(models) == {"config.json", WEIGHTS}
    assert records.read_record(models, CARD).commit == COMMIT
    assert records.inspect_model(models, CARD).state == "ready"


@pytest.mark.slow
def test_what_is_there_does_not_come_again(hub, get, models):
    get()
    hub.requests.clear()
    assert get().message == "MonST3R is there already."
    assert hub.asked("GET") == []


@pytest.mark.slow
def test_a_missing_file_comes_alone(hub, get, models):
    get()
    (models / CARD.folder / "config.json").unlink()
    assert records.inspect_model(models, CARD).state == "incomplete"
    hub.requests.clear()
    assert get().kind == "finished"
    assert [request.path.rpartition("/")[2] for request in hub.asked("GET")] == ["config.json"]


def test_every_file_is_asked_for_at_one_commit(hub, get, models):
    get()
    assert [request.path.split("/resolve/")[1] for request in hub.asked("HEAD")][:2] == [
        "main/config.json", f"{COMMIT}/{WEIGHTS}"]


@pytest.mark.slow
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
    assert {request.path.split("/")[4] for request in hub.asked("GET", "hub")} == {card.revision}


@pytest.mark.slow
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

@pytest.mark.slow
def test_a_cut_connection_is_gone_on_with(hub, get, models):
    content = hub.add(CARD.repository, WEIGHTS, safetensors_bytes(LARGE))
    hub.faults.cuts = [12_000_000]
    assert get().kind == "finished"
    first, second = hub.asked("GET", "storage")
    assert first.range == "" and second.range == "bytes=10485760-"
    assert (models / CARD.folder / WEIGHTS).read_bytes() == content


@pytest.mark.slow
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
    assert records.inspect_model(models, CARD).state == "incomplete"
    hub.faults = Faults()
    assert get().kind == "finished"
    assert hub.asked("GET", "storage")[-1].range == "bytes=10485760-"
    assert (models / CARD.folder / WEIGHTS).read_bytes() == content
    assert partials(models) == []


@pytest.mark.slow
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
    assert hub.asked("GET", "storage")[-1].range == ""
    assert (models / CARD.folder / WEIGHTS).read_bytes() == content


@pytest.mark.slow
def test_a_slow_server_is_waited_for(hub, get, models):
    hub.faults.pause_s = 0.2
    assert get().kind == "finished"


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_not_waited_for_for_ever(hub, get):
    hub.faults.silent = True
    assert get(HF_HUB_ETAG_TIMEOUT="1").code == "download_interrupted"


@pytest.mark.slow
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


@pytest.mark.slow
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
    assert hub.asked("GET") == []


@pytest.mark.slow
@needs_full_device
def test_a_disk_that_fills_up_meanwhile(hub, weights, get, models):
    """The half file is a link to a device that has no room for a single byte."""
    hub.faults.stalls_after = 0
    process = weights("get", "--accept-licence", HF_HUB_DOWNLOAD_TIMEOUT="60")
    while not partials(models):
        assert process.poll() is None
    while not hub.asked("GET", "storage"):
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


# --- The license -----------------------------------------------------------------------------------------------

def test_without_acceptance_nothing_is_asked_of_the_network(hub, weights, models):
    process = weights("get")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and "error licence_not_accepted" in errors
    assert " ".join(CARD.terms.split())[:60] in " ".join(errors.split())
    assert hub.requests == [] and not models.exists()


@pytest.mark.slow
def test_an_acceptance_is_kept(hub, weights, get, tmp_path):
    get()
    kept = json.loads((next((tmp_path / "home").rglob("licences.json"))).read_text())["accepted"]["monst3r"]
    assert kept["licence"] == CARD.licence and kept["terms_hash"] == CARD.terms_hash and len(kept["date"]) == 10
    assert end_of(weights("get")).kind == "finished"


# --- Afterwards ------------------------------------------------------------------------------------------------

@pytest.mark.slow
def test_a_changed_file_is_noticed(hub, weights, get, models):
    get()
    path = models / CARD.folder / WEIGHTS
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert records.inspect_model(models, CARD).state == "unchecked"
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


@pytest.mark.slow
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
