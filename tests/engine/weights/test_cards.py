"""Cards, licenses and folders of weights: what Blender and the engine have to say alike, without either's packages."""

from __future__ import annotations

import dataclasses
import json
import os
from datetime import date
from pathlib import Path

import pytest
from hub_server import safetensors_bytes

from stereodiff_blender.engine.contract import Settings, StereoDiffError
from stereodiff_blender.engine.weights import licences, records
from stereodiff_blender.engine.weights.cards import card_names, is_safe_name, read_card, read_cards
from stereodiff_blender.engine.weights.events import WeightsEvent, parse_line

GOOD = '''
name = "Small"
folder = "small"
repository = "somebody/small"
source = "https://example.org/small"
licence = "Licence 1"
commercial_use = false
terms = "Do as you like, but not for money."
[[files]]
name = "config.json"
[[files]]
name = "part/weights.safetensors"
sha256 = "SHA"
[[alternatives]]
name = "other.pth"
source = "https://example.org/other"
'''.replace("SHA", "ab" * 32)
CONTENT = safetensors_bytes(5000)


def code_of(call, *arguments) -> str:
    with pytest.raises(StereoDiffError) as raised:
        call(*arguments)
    assert raised.value.message.endswith(".")
    return raised.value.code


@pytest.fixture
def write_card(tmp_path):
    """write_card(old, new) -> the folder of a card in which one thing was changed."""

    def write(old: str = "", new: str = "") -> Path:
        assert old in GOOD
        (tmp_path / "small.toml").write_text(GOOD.replace(old, new) if old else GOOD, encoding="utf-8")
        return tmp_path

    return write


@pytest.fixture
def card(write_card):
    """A card without hashes."""
    return read_card("small", write_card(f'sha256 = "{"ab" * 32}"'))


# --- Cards -----------------------------------------------------------------------------------------------------

def test_every_card_of_the_extension_can_be_read():
    assert card_names() == ("depthcrafter", "monst3r", "stable-video-diffusion")
    for card in read_cards():
        assert card.size > 1e9 and card.source.endswith(card.repository) and not card.commercial_use
        assert len(card.terms) > 200 and "\n" not in card.terms and "no commercial use" in card.terms.replace(
            "not for commercial use", "no commercial use")
        assert not any(file.name.endswith((".pth", ".bin", ".ckpt")) for file in card.files)


def test_a_card_says_what_it_says(write_card):
    card = read_card("small", write_card())
    assert (card.model, card.name, card.folder, card.revision) == ("small", "Small", "small", "")
    assert [(file.name, file.size, file.sha256) for file in card.files] == [
        ("config.json", None, ""), ("part/weights.safetensors", None, "ab" * 32)]
    assert card.alternatives[0].source == "https://example.org/other"
    assert card.used().licence == "Licence 1"


@pytest.mark.parametrize(("old", "new"), [
    ('name = "Small"', ""), ('name = "Small"', 'name = ""'), ('name = "Small"', "name = 3"), ("licence =", "license ="),
    ("commercial_use = false", 'commercial_use = "no"'), ('"Do as you like, but not for money."', '" "'),
    ('"part/weights.safetensors"', '"../weights.safetensors"'), ('"part/weights.safetensors"', '"/w.safetensors"'),
    ('"part/weights.safetensors"', '"C:/weights.safetensors"'), ('"part/weights.safetensors"', "'part\\w.safetensors'"),
    ('"part/weights.safetensors"', '"config.json"'), ('"part/weights.safetensors"', '"part/./weights.safetensors"'),
    ('"other.pth"', '"../../other.pth"'), ('folder = "small"', 'folder = ".."'), ('folder = "small"', 'folder = "a/b"'),
    ('"somebody/small"', '"somebody/../small"'), ('"somebody/small"', '"small"'),
    ("https://example.org/small", "file:///etc"), ('name = "Small"', "name = "),
    ("ab" * 32, "AB" * 32), ("ab" * 32, "ab"), ('name = "config.json"', 'name = "config.json"\nsize = -1'),
    ('name = "config.json"', 'name = "config.json"\nsize = 1.5'), ("[[files]]", "[[documents]]"),
    ('licence = "Licence 1"', 'licence = "Licence 1"\nrevision = "main"'),
])
def test_a_damaged_card_is_refused(write_card, old, new):
    assert code_of(read_card, "small", write_card(old, new)) == "model_card_invalid"


@pytest.mark.parametrize("model", ["other", "", "../small", "small.toml", "SMALL"])
def test_there_is_no_such_card(write_card, model):
    assert code_of(read_card, model, write_card()) == "model_card_invalid"


def test_a_card_that_is_no_text(tmp_path):
    (tmp_path / "small.toml").write_bytes(b"\xff\xfe\x00")
    assert code_of(read_card, "small", tmp_path) == "model_card_invalid"


@pytest.mark.parametrize("name", ["..", "a/..", "a//b", "a/", ".", "./a", "a\\b", "a:b", "a. ", "a\x00b", "", "a./b",
                                  "con?"])
def test_no_path_out_of_the_folder(name):
    assert not is_safe_name(name)


# --- Licenses --------------------------------------------------------------------------------------------------

def test_an_acceptance_has_its_day_and_survives(card, tmp_path):
    assert licences.acceptance(tmp_path / "user", card) is None
    licences.accept(tmp_path / "user", card)
    kept = licences.acceptance(tmp_path / "user", card)
    assert (kept.date, kept.licence) == (date.today().isoformat(), "Licence 1")
    licences.refuse_unaccepted(tmp_path / "user", [card])


@pytest.mark.parametrize("change", [{"terms": "Do nothing."}, {"licence": "Licence 2"}])
def test_other_terms_are_asked_for_again(card, tmp_path, change):
    licences.accept(tmp_path, card)
    changed = dataclasses.replace(card, **change)
    assert licences.acceptance(tmp_path, changed) is None
    assert code_of(licences.refuse_unaccepted, tmp_path, [card, changed]) == "licence_not_accepted"


def test_one_acceptance_leaves_the_others_alone(card, tmp_path):
    for each in (card, *read_cards()):
        licences.accept(tmp_path, each)
    licences.refuse_unaccepted(tmp_path, (card, *read_cards()))


@pytest.mark.parametrize("content", ["", "[]", "{", '{"accepted": {"small": {"date": 1}}}', "\x00"])
def test_a_damaged_file_of_acceptances_accepts_nothing(card, tmp_path, content):
    (tmp_path / licences.FILE_NAME).write_text(content)
    assert code_of(licences.refuse_unaccepted, tmp_path, [card]) == "licence_not_accepted"
    licences.accept(tmp_path, card)
    licences.refuse_unaccepted(tmp_path, [card])


def test_an_acceptance_that_cannot_be_kept(card, tmp_path):
    (tmp_path / "user").write_text("")
    assert code_of(licences.accept, tmp_path / "user", card) == "output_not_writable"


@pytest.mark.parametrize(("stereo", "refine", "names"), [
    ("geometric", "guided", []), ("monst3r", "none", ["MonST3R"]),
    ("geometric", "depthcrafter", ["DepthCrafter", "Stable Video Diffusion"]),
    ("monst3r", "depthcrafter", ["MonST3R", "DepthCrafter", "Stable Video Diffusion"]),
])
def test_engines_have_their_cards(stereo, refine, names):
    assert [card.name for card in licences.cards_of(Settings(stereo=stereo, refine=refine))] == names


# --- Folders ---------------------------------------------------------------------------------------------------

def put(folder: Path, **content: bytes) -> Path:
    """The files of the small card."""
    names = {"config": "config.json", "weights": "part/weights.safetensors", "half": "part/weights.fp16.safetensors",
             "other": "other.pth"}
    for name, data in content.items():
        (folder / names[name]).parent.mkdir(parents=True, exist_ok=True)
        (folder / names[name]).write_bytes(data)
    return folder


def state(models: Path, card) -> str:
    return records.inspect_model(models, card).state


def test_states_from_missing_to_ready(card, tmp_path):
    assert state(tmp_path, card) == "missing"
    put(tmp_path / "small", config=b"{}")
    assert state(tmp_path, card) == "incomplete"
    put(tmp_path / "small", weights=CONTENT)
    assert state(tmp_path, card) == "unchecked"
    records.verify(tmp_path, card)
    found = records.inspect_model(tmp_path, card)
    assert (found.state, found.size, found.is_own) == ("ready", 2 + len(CONTENT), False)


def test_a_twin_of_half_precision_serves(card, tmp_path):
    put(tmp_path / "small", config=b"{}", half=CONTENT)
    records.verify(tmp_path, card)
    assert state(tmp_path, card) == "ready"


def test_an_alternative_serves(card, tmp_path):
    put(tmp_path / "small", other=b"anything")
    assert state(tmp_path, card) == "unchecked"
    records.verify(tmp_path, card)
    assert state(tmp_path, card) == "ready"


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"0", b"", b"<html>" * 10, bytes(100), b"\xff" * 100])
def test_what_cannot_be_whole_is_damaged(card, tmp_path, content):
    put(tmp_path / "small", config=b"{}", weights=content)
    assert state(tmp_path, card) == "damaged"
    assert code_of(records.verify, tmp_path, card) == "weights_damaged"


def test_the_size_of_the_card_is_asked_for(tmp_path):
    put(tmp_path / "monst3r", config=b"{}")
    assert "config.json has 2 of 453 bytes" in records.inspect_model(tmp_path, read_card("monst3r")).detail


def test_the_hash_of_the_card_is_asked_for(write_card, tmp_path):
    card = read_card("small", write_card())
    put(tmp_path / "small", config=b"{}", weights=CONTENT)
    assert code_of(records.verify, tmp_path, card) == "weights_damaged"
    assert code_of(records.refuse_changed, tmp_path, card) == "weights_damaged"
    assert not records.record_file(tmp_path, card).exists()


def test_a_file_that_was_only_touched_is_read_once(card, tmp_path):
    put(tmp_path / "small", config=b"{}", weights=CONTENT)
    records.verify(tmp_path, card)
    os.utime(tmp_path / "small" / "config.json", ns=(7, 7))
    assert state(tmp_path, card) == "unchecked"
    records.refuse_changed(tmp_path, card)
    assert state(tmp_path, card) == "ready"


def test_a_file_that_was_exchanged_is_not_loaded(card, tmp_path):
    put(tmp_path / "small", config=b"{}", weights=CONTENT)
    records.verify(tmp_path, card)
    put(tmp_path / "small", weights=safetensors_bytes(5000, seed=1))
    assert code_of(records.refuse_changed, tmp_path, card) == "weights_damaged"
    assert code_of(records.verify, tmp_path, card) == "weights_damaged"


def test_what_was_never_checked_is_not_held_against_anything(card, tmp_path):
    put(tmp_path / "small", config=b"{}", weights=CONTENT)
    records.refuse_changed(tmp_path, card)
    assert state(tmp_path, card) == "unchecked"


def test_a_folder_of_ones_own(card, tmp_path):
    models, own = tmp_path / "models", put(tmp_path / "own", config=b"{}", weights=CONTENT)
    records.use_folder(models, card, own)
    found = records.inspect_model(models, card)
    assert (found.state, found.folder, found.is_own) == ("ready", own, True)
    removed = records.remove(models, card)
    assert removed == records.Removed(forgotten=str(own))
    assert "not used" in removed.sentence("Small") and "nothing in it was deleted" in removed.sentence("Small")
    assert (own / "config.json").is_file() and state(models, card) == "missing"
    assert not records.record_file(models, card).exists()


@pytest.mark.parametrize(("content", "code"), [
    ({}, "weights_missing"), ({"config": b"{}"}, "weights_missing"), ({"weights": CONTENT}, "weights_missing"),
    ({"config": b"{}", "weights": CONTENT[:-1]}, "weights_damaged"),
    ({"config": b"{}", "weights": b"PK\x03\x04" + bytes(50)}, "weights_damaged"),
])
def test_a_folder_that_does_not_serve_changes_nothing(card, tmp_path, content, code):
    assert code_of(records.use_folder, tmp_path / "models", card, put(tmp_path / "own", **content)) == code
    assert not (tmp_path / "models").exists()


def test_remove_deletes_only_what_the_card_names(card, tmp_path):
    folder = put(tmp_path / "small", config=b"{}", weights=CONTENT, other=b"mine")
    (folder / "part" / "notes.txt").write_text("mine")
    (folder / records.PARTIAL_FOLDER).mkdir()
    (folder / records.PARTIAL_FOLDER / "half").write_text("")
    removed = records.remove(tmp_path, card)
    assert {path.name for path in removed.deleted} == {"config.json", "weights.safetensors"}
    assert removed.sentence("Small") == "2 files of Small deleted. 1 half download of Small deleted."
    assert {path.name for path in folder.rglob("*") if path.is_file()} == {"other.pth", "notes.txt"}
    assert not (folder / records.PARTIAL_FOLDER).exists()


def test_remove_leaves_no_empty_folder(card, tmp_path):
    put(tmp_path / "small", config=b"{}", weights=CONTENT)
    records.remove(tmp_path, card)
    assert not (tmp_path / "small").exists()


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
@pytest.mark.parametrize(("linked", "to"), [("small", "own"), ("small/part", "own"), ("small", "models/other")])
def test_remove_does_not_follow_a_link_to_another_folder(card, tmp_path, linked, to):
    own = put(tmp_path / to, config=b"{}", weights=CONTENT)
    link = tmp_path / "models" / linked
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(own if linked == "small" else own / "part", target_is_directory=True)
    assert code_of(records.remove, tmp_path / "models", card) == "model_folder_outside"
    assert (own / "config.json").is_file() and (own / "part" / "weights.safetensors").is_file()


def test_remove_says_what_was_not_there(card, tmp_path):
    removed = records.remove(tmp_path, card)
    assert removed.is_nothing and removed.sentence("Small") == "Nothing of Small was there to delete."


@pytest.mark.skipif(os.name == "nt", reason="links need a right there")
def test_remove_says_that_a_linked_file_stays(card, tmp_path):
    """Deleting the link frees no room, and the file may be somebody's only one."""
    folder, file = put(tmp_path / "small", config=b"{}"), tmp_path / "own.safetensors"
    file.write_bytes(CONTENT)
    (folder / "part").mkdir(exist_ok=True)
    (folder / "part" / "weights.safetensors").symlink_to(file)
    removed = records.remove(tmp_path, card)
    assert file.read_bytes() == CONTENT and not folder.exists()
    assert removed.sentence("Small") == "1 file of Small deleted. 1 link deleted; what they lead to is still there."


@pytest.mark.parametrize("content", ["", "{", '{"files": {"a": {}}}', '{"folder": 3}', "\x00"])
def test_a_damaged_record_is_told(card, tmp_path, content):
    tmp_path.joinpath("small.json").write_text(content)
    for call in (records.inspect_model, records.verify, records.refuse_changed, records.remove):
        assert code_of(call, tmp_path, card) == "model_record_invalid"


# --- Events ----------------------------------------------------------------------------------------------------

def test_an_event_survives_its_line():
    event = WeightsEvent("progress", "Downloading ü", 3, 10)
    assert parse_line(event.to_line()) == event


@pytest.mark.parametrize("line", ["", "warning: something", "[]", '{"kind": "other"}', '{"kind": 3}',
                                  json.dumps({"kind": "progress", "done": "3"}), '{"kind": "failed"}',
                                  '{"kind": "failed", "code": "no_words"}',
                                  '{"kind": "finished", "code": "disk_full"}'])
def test_other_lines_are_no_events(line):
    assert parse_line(line) is None
