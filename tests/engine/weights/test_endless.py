"""Getting weights from a hub that never comes to an end: nothing fills the disk, the memory, or the time."""

from __future__ import annotations

import subprocess
import textwrap

import pytest
from hub_server import CARD, ENDLESS, LARGE, WEIGHTS, left_in, partials, safetensors_bytes


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
    assert bool(hub.asked("GET")) == (code == "")


@pytest.mark.slow
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
    assert hub.asked("GET", "elsewhere") and hub.sent_bytes < ENDLESS / 2


@pytest.mark.slow
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
