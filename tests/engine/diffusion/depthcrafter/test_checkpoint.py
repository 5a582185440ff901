"""Loading the published files of stage 2: every layout, every tensor accounted for, and nothing else let in."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from safetensors.torch import load_file, save_file  # noqa: E402
from tiny_depthcrafter import LAYOUTS, UNET, write_tiny_depthcrafter  # noqa: E402

from stereodiff_blender.engine.contract import StereoDiffError  # noqa: E402
from stereodiff_blender.engine.diffusion.depthcrafter import architectures  # noqa: E402
from stereodiff_blender.engine.diffusion.depthcrafter.checkpoint import (  # noqa: E402
    DEPTHCRAFTER_FOLDER,
    VIDEO_DIFFUSION_FOLDER,
    find_folders,
    find_weights,
    load_depthcrafter,
    load_folders,
    load_network,
    plan_network,
)
from stereodiff_blender.engine.torch_support.checkpoint_files import WeightsFile  # noqa: E402
from stereodiff_blender.engine.weights.cards import read_card  # noqa: E402

CPU = torch.device("cpu")
PARTS = ("unet", "vae", "image_encoder")


def load(models: Path, **options):
    return load_depthcrafter(models, device=CPU, **options)


def refusal(models: Path, *named: str | Path) -> str:
    """The error's code. named: what its message tells."""
    with pytest.raises(StereoDiffError) as raised:
        load(models)
    assert raised.value.message.endswith(".") and "\n" not in raised.value.message
    for name in named:
        assert str(name) in raised.value.message
    return raised.value.code


def parameters(networks) -> dict[str, torch.Tensor]:
    return {f"{part}.{name}": parameter for part, module in networks._modules.items()
            for name, parameter in module.named_parameters()}


def rewrite(file: Path, change: Callable[[dict], dict | None]) -> Path:
    """Change the tensors of a file."""
    content = load_file(file)
    save_file(change(content) or content, file, {"format": "pt"})
    return file


def restate(folder: Path, **stated) -> Path:
    """Change what a config.json says."""
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | stated))
    return file


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    return write_tiny_depthcrafter(tmp_path_factory.mktemp("published"))


@pytest.fixture
def models(published, tmp_path) -> Path:
    """A copy that a test may spoil."""
    return shutil.copytree(published, tmp_path / "models")


@pytest.fixture
def unet(models) -> Path:
    return models / DEPTHCRAFTER_FOLDER


@pytest.fixture
def vae(models) -> Path:
    return models / VIDEO_DIFFUSION_FOLDER / "vae"


@pytest.fixture
def encoder(models) -> Path:
    return models / VIDEO_DIFFUSION_FOLDER / "image_encoder"


# --- What is accepted --------------------------------------------------------------------------------------------

@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_networks(models, tmp_path, layout):
    expected = parameters(load(models))
    found = parameters(load(write_tiny_depthcrafter(tmp_path / "other", layout=layout)))
    assert expected.keys() == found.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


def test_layouts_may_be_mixed(models, unet, vae):
    shutil.move(vae, unet / "vae")
    folders = find_folders(models)
    assert folders.vae == unet / "vae" and folders.image_encoder.parent.name == VIDEO_DIFFUSION_FOLDER
    load(models)


@pytest.mark.parametrize("name", ["diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors",
                                  "model.safetensors", "model.fp16.safetensors"])
def test_every_published_file_name_serves(models, unet, name):
    (unet / "diffusion_pytorch_model.safetensors").rename(unet / name)
    assert find_weights(unet).name == name
    load(models)


def test_every_number_of_the_files_is_in_the_networks(models):
    networks, folders = load(models), find_folders(models)
    for part, folder in zip(PARTS, folders, strict=True):
        tensors, module = load_file(find_weights(folder)), networks._modules[part]
        named = dict(module.named_parameters())
        assert tensors.keys() == named.keys()
        assert all(torch.equal(named[name], tensor.float()) for name, tensor in tensors.items())
        assert not module.training and not any(parameter.requires_grad for parameter in named.values())


def test_nothing_stays_without_numbers(models):
    for module in load(models)._modules.values():
        tensors = [*module.parameters(), *module.buffers()]
        assert not any(tensor.is_meta for tensor in tensors)


def test_files_of_older_programs_count_their_patches(models, encoder):
    before = parameters(load(models))
    rewrite(find_weights(encoder), lambda tensors: tensors | {
        "vision_model.embeddings.position_ids": torch.arange(5)[None]})
    after = load(models)
    assert all(torch.equal(tensor, before[name]) for name, tensor in parameters(after).items())
    assert after.embed(torch.rand(1, 3, 64, 64)).isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("on_disk", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("precision", [torch.float32, torch.float16, torch.bfloat16])
def test_precision_on_disk_and_in_use_are_two_things(tmp_path, on_disk, precision):
    networks = load(write_tiny_depthcrafter(tmp_path, precision=on_disk), precision=precision)
    for part in ("unet", "image_encoder"):
        assert {parameter.dtype for parameter in networks._modules[part].parameters()} == {precision}
    assert networks.precision == precision


def test_a_half_precision_network_is_never_wider_on_the_way(models, unet):
    """At full size the difference is three gigabytes."""
    network = load_network(plan_network(unet, architectures.UNET), torch.float16)
    file = load_file(find_weights(unet))
    assert all(parameter.dtype == torch.float16 and torch.equal(parameter, file[name])
               for name, parameter in network.named_parameters())


def test_no_gigabytes_are_read_before_all_three_are_known_to_fit(models, encoder, monkeypatch):
    def read(*_):
        raise AssertionError("a tensor was read")
    monkeypatch.setattr(WeightsFile, "tensor", read)
    restate(encoder, intermediate_size=48)
    assert refusal(models, find_weights(encoder)) == "weights_wrong_model"


def test_what_is_not_stated_is_as_the_stock_classes_have_it(models, vae, encoder):
    stated = json.loads((vae / "config.json").read_text())
    for key in ("scaling_factor", "in_channels", "_class_name"):
        del stated[key]
    (vae / "config.json").write_text(json.dumps(stated))
    assert load(models).scaling_factor == 0.18215


@pytest.mark.slow
def test_unknown_words_in_a_configuration_are_passed_over_in_silence(models, unet, vae, encoder, caplog, capfd):
    for folder in (unet, vae, encoder):
        restate(folder, novelty=[1, {"of": "later"}], _private=None)
    load(models)
    out, err = capfd.readouterr()
    assert not caplog.records and not out and not err


def test_nothing_is_asked_of_the_network_cable(models, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a connection was opened")
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    load(models)


def test_nothing_global_is_set(models):
    before = (torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled(), torch.get_rng_state())
    load(models)
    after = (torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled(), torch.get_rng_state())
    assert before[:3] == after[:3] and torch.equal(before[3], after[3])


# --- Missing -----------------------------------------------------------------------------------------------------

def test_an_empty_models_folder(tmp_path):
    assert refusal(tmp_path, tmp_path / DEPTHCRAFTER_FOLDER, "diffusion_pytorch_model.safetensors") == "weights_missing"


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_network_that_is_not_there(tmp_path, layout, part):
    models = write_tiny_depthcrafter(tmp_path, layout=layout)
    folder = getattr(find_folders(models), part)
    find_weights(folder).unlink()
    assert refusal(models, folder, "safetensors") == "weights_missing"
    (folder / "config.json").unlink()
    assert refusal(models, "" if part == "unet" else part, "safetensors") == "weights_missing"


@pytest.mark.parametrize("part", PARTS)
def test_a_configuration_that_is_not_there(models, part):
    folder = getattr(find_folders(models), part)
    (folder / "config.json").unlink()
    assert refusal(models, folder / "config.json") == "weights_missing"


@pytest.mark.parametrize("suffix", [".bin", ".pth", ".pt", ".ckpt"])
def test_files_that_can_hold_programs_are_not_opened(models, vae, suffix):
    find_weights(vae).unlink()
    (vae / f"diffusion_pytorch_model{suffix}").write_bytes(b"whatever")
    assert refusal(models, vae, suffix, ".safetensors") == "weights_refused"


def test_such_files_may_lie_beside(models, vae):
    (vae / "diffusion_pytorch_model.bin").write_bytes(b"whatever")
    load(models)


# --- Damaged -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("kept", [0, 5, 1000, -1])
def test_a_file_cut_short(models, part, kept):
    path = find_weights(getattr(find_folders(models), part))
    path.write_bytes(path.read_bytes()[:kept])
    assert refusal(models, path) == "weights_damaged"


@pytest.mark.parametrize("content", [b"<html>not found</html>" * 100, b"\xff" * 4096, b"version https://git-lfs\n" * 9])
def test_something_else_under_the_right_name(models, unet, content):
    path = find_weights(unet)
    path.write_bytes(content)
    assert refusal(models, path) == "weights_damaged"


@pytest.mark.slow
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("part", PARTS)
def test_weights_that_are_no_numbers(models, part, value):
    def spoil(tensors):
        last = max(tensors)
        tensors[last].view(-1)[-1] = value
    path = rewrite(find_weights(getattr(find_folders(models), part)), spoil)
    assert refusal(models, path, max(load_file(path))) == "weights_damaged"


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '"words"', "[" * 100_000, f'{{"in_channels": {"9" * 5000}}}'],
                         ids=lambda text: text[:8])
def test_a_configuration_that_cannot_be_read(models, unet, text):
    (unet / "config.json").write_text(text)
    assert refusal(models, unet / "config.json") == "weights_damaged"


def test_a_configuration_in_no_encoding(models, vae):
    (vae / "config.json").write_bytes(b"\xff\xfe\x00{}")
    assert refusal(models, vae / "config.json") == "weights_damaged"


# --- Another model -----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("part", PARTS)
def test_a_tensor_too_few(models, part):
    def drop(tensors):
        return {name: tensors[name] for name in sorted(tensors)[1:]}
    path = find_weights(getattr(find_folders(models), part))
    missing = min(load_file(path))
    assert refusal(models, rewrite(path, drop), "lacks", missing) == "weights_wrong_model"


@pytest.mark.parametrize("part", PARTS)
def test_a_tensor_too_many(models, part):
    path = rewrite(find_weights(getattr(find_folders(models), part)), lambda t: t | {"surplus.weight": torch.ones(2)})
    assert refusal(models, path, "surplus.weight") == "weights_wrong_model"


@pytest.mark.parametrize("part", PARTS)
def test_a_tensor_of_another_shape(models, part):
    def stretch(tensors):
        first = min(tensors)
        tensors[first] = torch.ones(3, *tensors[first].shape)
    path = find_weights(getattr(find_folders(models), part))
    name = min(load_file(path))
    assert refusal(models, rewrite(path, stretch), name, "instead of") == "weights_wrong_model"


def test_whole_numbers_for_weights(models, unet):
    path = rewrite(find_weights(unet), lambda tensors: {name: tensor.to(torch.int8)
                                                        for name, tensor in tensors.items()})
    assert refusal(models, path, "whole numbers") == "weights_wrong_model"


@pytest.mark.slow
@pytest.mark.parametrize("here", PARTS)
@pytest.mark.parametrize("there", PARTS)
def test_folders_mixed_up(models, here, there):
    """Another network's whole folder, and its weights alone."""
    if here == there:
        pytest.skip("that is where it belongs")
    folders = find_folders(models)
    target, source = getattr(folders, here), getattr(folders, there)
    label = {"unet": "U-Net", "vae": "VAE", "image_encoder": "image encoder"}
    mine, theirs = find_weights(target), find_weights(source)
    mine.write_bytes(theirs.read_bytes())
    assert refusal(models, mine, label[there], label[here]) == "weights_wrong_model"
    (target / "config.json").write_bytes((source / "config.json").read_bytes())
    assert refusal(models, target / "config.json", label[here]) == "weights_wrong_model"


@pytest.mark.slow
@pytest.mark.parametrize(("part", "stated"), [
    ("unet", {"block_out_channels": [32, 96]}), ("unet", {"layers_per_block": 2}),
    ("unet", {"cross_attention_dim": 32}),
    ("unet", {"addition_time_embed_dim": 16, "projection_class_embeddings_input_dim": 48}),
    ("unet", {"down_block_types": ["DownBlockSpatioTemporal"] * 2}), ("vae", {"block_out_channels": [32, 32, 32]}),
    ("vae", {"layers_per_block": 2}), ("image_encoder", {"projection_dim": 32}),
    ("image_encoder", {"num_hidden_layers": 3}), ("image_encoder", {"image_size": 56}),
    ("image_encoder", {"patch_size": 7}), ("image_encoder", {"patch_size": 100}),
    ("vae", {"down_block_types": ["DownEncoderBlock2D"]})])
def test_a_configuration_that_does_not_fit_the_weights(models, part, stated):
    folder = getattr(find_folders(models), part)
    restate(folder, **stated)
    assert refusal(models, folder) == "weights_wrong_model"


@pytest.mark.parametrize(("part", "stated"), [
    ("unet", {"in_channels": 4}), ("unet", {"out_channels": 8}), ("vae", {"latent_channels": 16}),
    ("vae", {"in_channels": 1}), ("image_encoder", {"num_channels": 1}),
    ("unet", {"_class_name": "UNet2DConditionModel"}), ("unet", {"_class_name": 5}), ("unet", {"_class_name": []}),
    ("vae", {"_class_name": "AutoencoderKL"}), ("image_encoder", {"architectures": ["CLIPTextModel"]})])
def test_a_configuration_of_another_kind_of_network(models, part, stated):
    folder = getattr(find_folders(models), part)
    key = next(iter(stated))
    assert refusal(models, restate(folder, **stated), *(() if key[0] == "_" else [""])) == "weights_wrong_model"


ABSURD = [10**12, 0, -3, 1.5, True, "many", [], {}, [[8]], float("nan"), [10**9] * 2]


@pytest.mark.parametrize("value", ABSURD, ids=lambda value: str(value)[:12])
@pytest.mark.parametrize(("part", "key"), [
    ("unet", "layers_per_block"), ("unet", "block_out_channels"), ("unet", "num_attention_heads"),
    ("unet", "transformer_layers_per_block"), ("unet", "cross_attention_dim"), ("vae", "layers_per_block"),
    ("vae", "block_out_channels"), ("image_encoder", "num_hidden_layers"), ("image_encoder", "image_size"),
    ("image_encoder", "hidden_size")])
def test_absurd_numbers_are_refused_before_anything_is_built(tmp_path, part, key, value):
    def build(**_):
        raise AssertionError("it was built")
    path = tmp_path / "config.json"
    path.write_text(json.dumps({key: value}))
    architecture = replace(getattr(architectures, part.upper()), build=build)
    with pytest.raises(StereoDiffError, match=key) as raised:
        architecture.planned(path)
    assert raised.value.code == "weights_wrong_model" and str(path) in raised.value.message


@pytest.mark.parametrize(("part", "stated"), [
    ("unet", {"block_out_channels": [30, 60]}), ("unet", {"block_out_channels": 32}),
    ("unet", {"num_attention_heads": [1, 2, 4]}), ("unet", {"down_block_types": ["Nothing", "Such"]}),
    ("unet", {"down_block_types": "DownBlockSpatioTemporal"}), ("unet", {"up_block_types": [1, 2]}),
    ("vae", {"scaling_factor": 0}),
    ("vae", {"scaling_factor": float("inf")}), ("vae", {"scaling_factor": "small"}),
    ("image_encoder", {"num_attention_heads": 3}), ("image_encoder", {"hidden_act": "nonsense"}),
    ("image_encoder", {"hidden_act": 1}), ("image_encoder", {"layer_norm_eps": -1})])
def test_a_configuration_that_no_network_has(models, part, stated):
    folder = getattr(find_folders(models), part)
    assert refusal(models, restate(folder, **stated), folder) == "weights_wrong_model"


def test_reals_may_be_written_as_whole_numbers(models, encoder, vae):
    restate(encoder, layer_norm_eps=1)
    restate(vae, scaling_factor=1)
    assert load(models).scaling_factor == 1.0


def test_networks_that_do_not_go_together(models, tmp_path, encoder):
    """Whole, and right each by itself, but the image encoder is of another family."""
    from tiny_depthcrafter import IMAGE_ENCODER, random_tensors, write_network
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection
    wider = IMAGE_ENCODER | {"projection_dim": 24}
    with torch.device("meta"):
        network = CLIPVisionModelWithProjection(CLIPVisionConfig(**wider))
    other = tmp_path / "other"
    write_network(other, "model.safetensors", random_tensors(network, 0, torch.float16), wider)
    folders = find_folders(models)
    with pytest.raises(StereoDiffError, match="24") as raised:
        load_folders(folders.unet, folders.vae, other, device=CPU, precision=torch.float32)
    assert raised.value.code == "weights_wrong_model" and str(other) in raised.value.message


def test_a_u_net_without_place_for_three_ids(models, unet):
    """Its weights fit, but it cannot be told frame rate, motion and noise."""
    restate(unet, addition_time_embed_dim=2 * UNET["addition_time_embed_dim"])
    assert refusal(models, unet / "config.json", "three time ids") == "weights_wrong_model"


# --- The cards ---------------------------------------------------------------------------------------------------

def test_cards_name_the_files_and_the_licences(models):
    own, other = read_card("depthcrafter"), read_card("stable-video-diffusion")
    folders = find_folders(models)
    assert {file.name for file in own.files} == {"config.json", find_weights(folders.unet).name}
    expected = {(folder / name).relative_to(models / VIDEO_DIFFUSION_FOLDER).as_posix()
                for folder in (folders.vae, folders.image_encoder)
                for name in ("config.json", find_weights(folder).name)}
    assert {file.name for file in other.files} == expected
    for card in (own, other):
        assert len(card.revision) == 40 and not card.commercial_use and card.licence
        assert all(file.size is None for file in card.files) and card.repository in card.source
    assert (own.folder, other.folder) == (DEPTHCRAFTER_FOLDER, VIDEO_DIFFUSION_FOLDER)
    assert (own.used().name, other.used().name) == ("DepthCrafter", "Stable Video Diffusion")
