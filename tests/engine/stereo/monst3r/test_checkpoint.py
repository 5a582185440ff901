"""Loading MonST3R's published files: both formats, every key accounted for, and nothing else let in."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pathlib
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file, save_file  # noqa: E402
from tiny_monst3r import TINY, arguments, published_tensors, with_aliases, write_tiny_monst3r  # noqa: E402

from stereodiff_blender.engine.contract import StereoDiffError  # noqa: E402
from stereodiff_blender.engine.stereo.monst3r.checkpoint import (  # noqa: E402
    CHECKPOINT_NAME,
    CONFIG_NAME,
    SAFETENSORS_NAME,
    load_network,
)
from stereodiff_blender.engine.weights.cards import read_card  # noqa: E402

CONVERTED_NAME = Path(CHECKPOINT_NAME).with_suffix(".safetensors").name


def load(folder: Path):
    return load_network(folder, device=torch.device("cpu"), precision=torch.float32)


def code_of(folder: Path) -> str:
    with pytest.raises(StereoDiffError) as raised:
        load(folder)
    assert raised.value.message.endswith(".")
    return raised.value.code


def rewrite(folder: Path, change: Callable[[dict], dict | None]) -> Path:
    """Change the tensors of model.safetensors."""
    file = folder / SAFETENSORS_NAME
    content = load_file(file)
    save_file(change(content) or content, file)
    return folder


def with_checkpoint(folder: Path, content: object) -> Path:
    folder.mkdir(exist_ok=True)
    torch.save(content, folder / CHECKPOINT_NAME)
    return folder


def same_parameters(one, other) -> bool:
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(name == other_name and torch.equal(value, other_value)
               for (name, value), (other_name, other_value) in pairs)


@pytest.fixture
def published(tmp_path) -> Path:
    return write_tiny_monst3r(tmp_path / "monst3r")


# --- What is accepted --------------------------------------------------------------------------------------------

def test_both_formats_give_the_same_network(published, tmp_path):
    network = load(published)
    assert network.config == TINY
    assert same_parameters(network, load(write_tiny_monst3r(tmp_path / "pth", kind="pth")))
    assert not any(parameter.requires_grad for parameter in network.parameters()) and not network.training


def test_every_number_of_the_file_is_in_the_network(published):
    tensors = load_file(published / SAFETENSORS_NAME)
    unused = sum(tensor.numel() for name, tensor in tensors.items()
                 if name == "mask_token" or "refinenet4.resConfUnit1" in name)
    network = load(published)
    assert sum(p.numel() for p in network.parameters()) == sum(t.numel() for t in tensors.values()) - unused
    assert torch.equal(network.decoders[1][2].cross_attention.key.weight,
                       tensors["dec_blocks2.2.cross_attn.projk.weight"])


def test_checkpoint_is_converted_once_and_read_from_there(tmp_path):
    folder = write_tiny_monst3r(tmp_path, kind="pth")
    first = load(folder)
    written = (folder / CONVERTED_NAME).stat().st_mtime_ns
    assert {path.name for path in folder.iterdir()} == {CHECKPOINT_NAME, CONVERTED_NAME}
    assert same_parameters(first, load(folder))
    assert (folder / CONVERTED_NAME).stat().st_mtime_ns == written
    (folder / CHECKPOINT_NAME).unlink()
    assert same_parameters(first, load(folder))


def test_checkpoint_of_another_name_serves(tmp_path):
    folder = write_tiny_monst3r(tmp_path, kind="pth")
    (folder / CHECKPOINT_NAME).rename(folder / "renamed.pth")
    assert load(folder).config == TINY and (folder / "renamed.safetensors").is_file()


def test_either_name_of_a_doubly_named_tensor_serves(published):
    before = load(published)
    aliased = {f"downstream_head{head}.dpt.scratch.layer{level + 1}_rn.weight":
               f"downstream_head{head}.dpt.scratch.layer_rn.{level}.weight" for head in (1, 2) for level in range(4)}
    rewrite(published, lambda tensors: {aliased.get(name, name): tensor for name, tensor in tensors.items()})
    assert same_parameters(before, load(published))
    rewrite(published, lambda tensors: tensors | {
        name: tensors[alias].clone() for name, alias in aliased.items() if "head1" in name})
    assert same_parameters(before, load(published))


def test_two_names_with_different_numbers_are_refused(published, tmp_path):
    alias = "downstream_head1.dpt.scratch.layer_rn.2.weight"
    rewrite(published, lambda tensors: tensors | {alias: torch.ones(with_aliases(tensors)[alias].shape)})
    assert code_of(published) == "weights_wrong_model"
    tensors = with_aliases(published_tensors())
    content = {"model": tensors | {alias: tensors[alias] + 1}, "args": arguments(TINY)}
    assert code_of(with_checkpoint(tmp_path / "pth", content)) == "weights_wrong_model"


def test_missing_second_decoder_is_a_copy_of_the_first(published):
    rewrite(published, lambda tensors: {name: t for name, t in tensors.items() if not name.startswith("dec_blocks2")})
    network = load(published)
    assert same_parameters(*network.decoders)


def test_leftovers_of_pre_training_are_passed_over(published):
    before = load(published)
    extra = {"prediction_head.weight": torch.ones(3), "enc_pos_embed": torch.ones(2, 2), "dec_pos_embed": torch.ones(1)}
    assert same_parameters(before, load(rewrite(published, lambda tensors: tensors | extra)))
    rewrite(published, lambda tensors: {name: t for name, t in tensors.items() if name != "mask_token"})
    assert same_parameters(before, load(published))


def test_half_precision_files_serve(published):
    rewrite(published, lambda tensors: {name: tensor.half() for name, tensor in tensors.items()})
    assert {parameter.dtype for parameter in load(published).parameters()} == {torch.float32}


def test_without_configuration_heads_have_the_usual_size(tmp_path, published):
    config = replace(TINY, encoder_width=128, encoder_heads=2, decoder_width=64, decoder_heads=1)
    folder = write_tiny_monst3r(tmp_path / "plain", config=config)
    (folder / CONFIG_NAME).unlink()
    assert load(folder).config == config
    (published / CONFIG_NAME).unlink()  # 32 channels are no heads of 64
    assert code_of(published) == "weights_wrong_model"


# --- What is refused ---------------------------------------------------------------------------------------------

@pytest.mark.parametrize("make", [lambda folder: None, lambda folder: folder.mkdir(),
                                  lambda folder: folder.write_text("a file"),
                                  lambda folder: (folder.mkdir(), (folder / "one.pth").touch(),
                                                  (folder / "two.pth").touch())])
def test_missing_weights(tmp_path, make):
    make(tmp_path / "weights")
    assert code_of(tmp_path / "weights") == "weights_missing"


@pytest.mark.parametrize("kind", ["safetensors", "pth"])
@pytest.mark.parametrize("left", [0, 7, 5000, 0.5, 0.99])
def test_file_that_is_cut_short(tmp_path, kind, left):
    folder = write_tiny_monst3r(tmp_path, kind=kind)
    file = folder / (SAFETENSORS_NAME if kind == "safetensors" else CHECKPOINT_NAME)
    whole = file.read_bytes()
    file.write_bytes(whole[:left if isinstance(left, int) else int(left * len(whole))])
    assert code_of(folder) == "weights_damaged"


@pytest.mark.parametrize("name", [SAFETENSORS_NAME, CHECKPOINT_NAME])
def test_web_page_in_place_of_the_file(tmp_path, name):
    (tmp_path / name).write_text("<!DOCTYPE html><html><body>Too many downloads today</body></html>")
    assert code_of(tmp_path) == "weights_damaged"


@pytest.mark.slow
@pytest.mark.parametrize("change", [
    lambda tensors: {n: t for n, t in tensors.items() if n != "enc_norm.bias"},
    lambda tensors: {n: t for n, t in tensors.items() if n != "patch_embed.proj.weight"},
    lambda tensors: {n: t for n, t in tensors.items() if not n.startswith("dec_blocks2.1.")},
    lambda tensors: {n: t for n, t in tensors.items() if n.startswith("dec_blocks.")},
    lambda tensors: tensors | {"enc_norm.bias": torch.zeros(33)},
    lambda tensors: tensors | {"patch_embed.proj.weight": torch.zeros(32, 3, 8, 8)},
    lambda tensors: tensors | {"patch_embed.proj.weight": torch.tensor(1.0)},
    lambda tensors: tensors | {"enc_norm.bias": torch.zeros(32, dtype=torch.int64)},
    lambda tensors: tensors | {"flow_head.weight": torch.zeros(3)},
    lambda tensors: tensors | {"enc_blocks.1000000000.norm1.bias": torch.zeros(32)},
    lambda tensors: tensors | {"x_mask_token": torch.zeros(3)},
], ids=["lacks one", "lacks the first", "lacks a block", "only a decoder", "wrong shape", "wrong patch", "no shape",
        "whole numbers", "unknown name", "block of a billion", "almost a known name"])
def test_file_of_another_model(published, change):
    assert code_of(rewrite(published, change)) == "weights_wrong_model"


@pytest.mark.parametrize(("text", "code"), [
    ("{", "weights_damaged"), ("[1]", "weights_damaged"), ("[" * 100000, "weights_damaged"),
    ('{"enc_num_heads": 3}', "weights_wrong_model"), ('{"enc_num_heads": "4"}', "weights_wrong_model"),
    ('{"enc_num_heads": -2}', "weights_wrong_model"), ('{"dec_num_heads": true}', "weights_wrong_model"),
    ('{"pos_embed": "cosine"}', "weights_wrong_model"), ('{"head_type": "linear"}', "weights_wrong_model"),
    ('{"depth_mode": ["square", -Infinity, Infinity]}', "weights_wrong_model"),
    ('{"conf_mode": ["exp", 0, Infinity]}', "weights_wrong_model"),
])
def test_configuration_that_does_not_fit(published, text, code):
    file = published / CONFIG_NAME
    whole = {"enc_num_heads": 2, "dec_num_heads": 2}
    with contextlib.suppress(ValueError, TypeError, RecursionError):  # what is no statement stays as it is
        text = json.dumps(whole | json.loads(text))
    file.write_text(text)
    assert code_of(published) == code


class Harmful:
    """Unpickled by anyone who trusts pickles, it leaves a file."""

    def __init__(self, trace: Path):
        self.trace = str(trace)

    def __reduce__(self):
        return os.mkdir, (self.trace,)


def content_with(extra: object) -> dict:
    return {"model": with_aliases(published_tensors()), "args": arguments(TINY), "extra": extra}


@pytest.mark.filterwarnings("ignore:Detected pickle protocol 4")
def test_checkpoint_with_a_program_is_refused_and_not_run(tmp_path):
    trace = tmp_path / "trace"
    folder = with_checkpoint(tmp_path / "zip", content_with(Harmful(trace)))
    assert code_of(folder) == "weights_refused"
    assert [path.name for path in folder.iterdir()] == [CHECKPOINT_NAME]
    older = tmp_path / "older"
    older.mkdir()
    torch.save(content_with(Harmful(trace)), older / CHECKPOINT_NAME, _use_new_zipfile_serialization=False)
    assert code_of(older) == "weights_refused"
    (older / CHECKPOINT_NAME).write_bytes(pickle.dumps(Harmful(trace)))
    assert code_of(older) == "weights_refused"
    assert not trace.exists()
    with open(older / CHECKPOINT_NAME, "rb") as stream:
        pickle.load(stream)
    assert trace.exists()  # so it would have been


@pytest.mark.parametrize("extra", [pathlib.PurePosixPath("a"), argparse.ArgumentParser, Harmful],
                         ids=["harmless object", "class", "own class"])
def test_checkpoint_with_any_other_class_is_refused(tmp_path, extra):
    assert code_of(with_checkpoint(tmp_path, content_with(extra))) == "weights_refused"


def test_older_checkpoint_format_serves(tmp_path):
    content = {"model": published_tensors(), "args": arguments(TINY)}
    torch.save(content, tmp_path / CHECKPOINT_NAME, _use_new_zipfile_serialization=False)
    assert load(tmp_path).config == TINY


@pytest.mark.parametrize("content", [{"state": {}}, {"model": {}}, {"model": [torch.ones(2)]}, [1, 2],
                                     {"model": {"a": 3}}, {"model": {4: torch.ones(2)}}])
def test_checkpoint_without_tensors(tmp_path, content):
    assert code_of(with_checkpoint(tmp_path, content)) == "weights_wrong_model"


@pytest.mark.parametrize("tensor", [torch.zeros(1).expand(10**12), torch.eye(3).to_sparse()],
                         ids=["one number counted often", "sparse"])
def test_tensor_that_is_not_plainly_its_numbers(tmp_path, tensor):
    tensors = published_tensors() | {"enc_norm.bias": tensor}
    folder = with_checkpoint(tmp_path, {"model": tensors, "args": arguments(TINY)})
    assert code_of(folder) == "weights_refused"


def test_tensors_that_share_numbers(tmp_path):
    tensors = published_tensors()
    content = {"model": tensors | {"enc_norm.bias": tensors["enc_norm.weight"]}, "args": arguments(TINY)}
    assert code_of(with_checkpoint(tmp_path, content)) == "weights_wrong_model"


def test_checkpoint_of_another_model_leaves_nothing(tmp_path):
    content = {"model": published_tensors() | {"flow_head.weight": torch.zeros(3)}, "args": arguments(TINY)}
    folder = with_checkpoint(tmp_path, content)
    assert code_of(folder) == "weights_wrong_model"
    assert [path.name for path in folder.iterdir()] == [CHECKPOINT_NAME]
    assert load(write_tiny_monst3r(folder, kind="pth")).config == TINY


def test_packed_checkpoint_is_refused(tmp_path):
    folder = write_tiny_monst3r(tmp_path, kind="pth")
    file = folder / CHECKPOINT_NAME
    with zipfile.ZipFile(file) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    assert code_of(folder) == "weights_refused"


def test_conversion_that_cannot_be_written_leaves_nothing(tmp_path):
    folder = write_tiny_monst3r(tmp_path, kind="pth")
    (folder / CONVERTED_NAME).mkdir()
    assert code_of(folder) == "weights_not_writable"
    assert {path.name for path in folder.iterdir()} == {CHECKPOINT_NAME, CONVERTED_NAME}


# --- The card ----------------------------------------------------------------------------------------------------

def test_card_names_the_files_and_the_licence():
    card = read_card("monst3r")
    assert [file.name for file in card.files] == [CONFIG_NAME, SAFETENSORS_NAME]
    assert [other.name for other in card.alternatives] == [CHECKPOINT_NAME]
    used = card.used()
    assert used.licence == "CC BY-NC-SA 4.0" and used.commercial_use is False
