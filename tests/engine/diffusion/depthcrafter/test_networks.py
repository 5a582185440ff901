"""The three networks at tiny size: how they deal with frames, precision and memory."""

from __future__ import annotations

import functools

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from tiny_depthcrafter import UNET, write_tiny_depthcrafter  # noqa: E402

from stereodiff_blender.engine.contract import StereoDiffError  # noqa: E402
from stereodiff_blender.engine.diffusion.depthcrafter.checkpoint import load_depthcrafter  # noqa: E402
from stereodiff_blender.engine.diffusion.depthcrafter.networks import (  # noqa: E402
    DepthCrafterNetworks,
    default_encode_precision,
    default_precision,
    frame_embeddings,
    lay_out,
)

CPU = torch.device("cpu")


def close(found, expected, atol: float) -> None:
    torch.testing.assert_close(found, expected, atol=atol, rtol=0)


# --- Shapes ------------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return write_tiny_depthcrafter(tmp_path_factory.mktemp("models"))


@pytest.fixture
def networks(models) -> DepthCrafterNetworks:
    return load_depthcrafter(models, device=CPU)


@pytest.fixture
def window() -> tuple[torch.Tensor, torch.Tensor]:
    """Sample (T,8,h,w) and embeddings (T,C) of five frames."""
    generator = torch.Generator().manual_seed(7)
    return (torch.randn(5, 8, 8, 16, generator=generator),
            torch.randn(5, UNET["cross_attention_dim"], generator=generator))


def unet_of(networks) -> torch.nn.Module:
    return networks._modules["unet"]


def vae_of(networks) -> torch.nn.Module:
    return networks._modules["vae"]


def test_shapes_and_types(networks, window):
    pictures = torch.rand(3, 3, 64, 128) * 2 - 1
    embeddings, latents = networks.embed(pictures), networks.encode(pictures)
    assert embeddings.shape == (3, networks.embedding_width) and latents.shape == (3, 4, 8, 16)
    decoded, output = networks.decode(latents), networks.predict(window[0], 0.2, window[1])
    assert decoded.shape == (3, 3, 64, 128) and output.shape == (5, 4, 8, 16)
    for tensor in (embeddings, latents, decoded, output):
        assert tensor.dtype == torch.float32 and tensor.device == CPU and not tensor.requires_grad
    assert networks.spatial_factor == 8 and networks.scaling_factor == 0.18215
    assert networks.precision_name == "float32" and set(networks.bytes) == {"unet", "vae", "image_encoder"}


def test_results_can_be_written_to(networks, window):
    """They are plain tensors, which code outside may change in place."""
    output = networks.predict(window[0], 0.2, window[1])
    output[0] += 1
    output.numpy()[1] = 0


def test_sides_that_halve_to_odd_ones(networks):
    sample = torch.randn(2, 8, 7, 9)
    assert networks.predict(sample, 0.2, torch.randn(2, 16)).shape == (2, 4, 7, 9)


def test_several_windows_at_once_are_as_one_by_one(networks, window):
    other = window[0].flip(0) * 0.5, window[1].flip(1)
    together = networks.predict(torch.stack([window[0], other[0]]), 0.2, torch.stack([window[1], other[1]]))
    for found, (sample, embeddings) in zip(together, (window, other), strict=True):
        close(found, networks.predict(sample, 0.2, embeddings), 1e-5)


def test_noise_level_and_ids_are_heard(networks, window):
    plain = networks.predict(window[0], 0.2, window[1])
    assert not torch.allclose(plain, networks.predict(window[0], 0.3, window[1]), atol=1e-3)
    assert not torch.allclose(plain, networks.predict(window[0], 0.2, window[1], ids=(6, 127, 0.02)), atol=1e-4)


def test_the_likeliest_latents_are_taken_not_drawn_ones(networks):
    pictures = torch.rand(2, 3, 64, 64)
    assert torch.equal(networks.encode(pictures), networks.encode(pictures))


# --- One embedding a frame ---------------------------------------------------------------------------------------

def hooks_of(networks) -> int:
    return sum(len(module._forward_pre_hooks) for module in unet_of(networks).modules())


def test_each_frame_has_its_own_embedding(networks, window):
    sample, embeddings = window
    plain = networks.predict(sample, 0.2, embeddings)
    for frame in range(1, len(sample)):
        changed = embeddings.clone()
        changed[frame] += 1
        assert not torch.allclose(networks.predict(sample, 0.2, changed)[frame], plain[frame], atol=1e-3)


def test_the_same_embedding_everywhere_is_what_the_stock_network_does(networks, window):
    sample, embeddings = window[0], window[1][:1].expand(5, -1)
    unet, ids = unet_of(networks), torch.tensor([[7, 127, 0.02]])
    with torch.no_grad():
        stock = unet(sample[None], torch.tensor([0.2]), embeddings[None, :1], ids).sample[0]
    assert torch.equal(networks.predict(sample, 0.2, embeddings), stock)


def test_only_blocks_that_look_at_embeddings_are_hooked(networks, window):
    unet = unet_of(networks)
    with frame_embeddings(unet, window[1][None]):
        hooked = [name for name, module in unet.named_modules() if module._forward_pre_hooks]
    assert hooked == ["down_blocks.0", "up_blocks.1", "mid_block"]
    assert hooks_of(networks) == 0


def test_hooks_are_gone_after_an_error(networks, window):
    before = networks.predict(window[0], 0.2, window[1])
    with pytest.raises(RuntimeError):
        networks.predict(window[0][:, :7], 0.2, window[1])  # a channel short
    with pytest.raises(KeyError), frame_embeddings(unet_of(networks), window[1][None]):
        raise KeyError
    assert hooks_of(networks) == 0
    assert torch.equal(networks.predict(window[0], 0.2, window[1]), before)


# --- Precision ---------------------------------------------------------------------------------------------------

def half(models, precision=torch.float16) -> DepthCrafterNetworks:
    return load_depthcrafter(models, device=CPU, precision=precision)


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "share"), [(torch.float16, 0.01), (torch.bfloat16, 0.05)])
def test_half_precision_is_near(models, networks, window, precision, share):
    halved = half(models, precision)
    pictures = torch.rand(2, 3, 64, 64) * 2 - 1
    for name, given in (("embed", (pictures,)), ("encode", (pictures,)), ("predict", (window[0], 0.2, window[1])),
                        ("decode", (torch.randn(3, 4, 4, 4),))):
        expected = getattr(networks, name)(*given)
        found = getattr(halved, name)(*given)
        assert found.dtype == torch.float32
        assert (found - expected).abs().mean() < share * expected.std(), name
    assert halved.bytes["unet"] * 2 == networks.bytes["unet"] and not any(halved.retries.values())


def test_encoding_has_a_precision_of_its_own(models, networks):
    halved = half(models)
    vae = vae_of(halved)
    assert next(vae.encoder.parameters()).dtype == vae.quant_conv.weight.dtype == torch.float32
    assert next(vae.decoder.parameters()).dtype == torch.float16
    pictures = torch.rand(2, 3, 64, 64)
    assert torch.equal(halved.encode(pictures), networks.encode(pictures))
    coarse = DepthCrafterNetworks(*(halved._modules[name] for name in ("unet", "vae", "image_encoder")), device=CPU,
                                  precision=torch.float16, encode_precision=torch.bfloat16)
    assert next(vae_of(coarse).encoder.parameters()).dtype == torch.bfloat16
    close(coarse.encode(pictures), networks.encode(pictures), 0.1)


def test_the_host_computes_in_float32():
    assert default_precision(CPU) == default_encode_precision(CPU) == torch.float32


def loud(networks: DepthCrafterNetworks) -> DepthCrafterNetworks:
    """Weights that float16 holds, and answers on the way that it does not; a norm makes them small again."""
    for convolution in (unet_of(networks).conv_in, vae_of(networks).decoder.conv_in):
        convolution.weight.data *= 3e4
        convolution.bias.data *= 3e4
    norm = networks._modules["image_encoder"].vision_model.pre_layrnorm
    norm.weight.data *= 1e4
    norm.bias.data += 6e4
    return networks


CALLS = (("unet", lambda networks, window: networks.predict(window[0], 0.2, window[1])),
         ("vae", lambda networks, _: networks.decode(torch.full((2, 4, 4, 4), 2.0))),
         ("image_encoder", lambda networks, _: networks.embed(torch.full((1, 3, 28, 28), 1.0))))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "call"), CALLS)
def test_half_precision_that_overflows_is_repeated_in_float32(models, window, name, call):
    halved = loud(half(models))
    before = {key: value.clone() for key, value in halved._modules[name].state_dict().items()}
    found = call(halved, window)
    assert halved.retries == {"unet": 0, "vae": 0, "image_encoder": 0, name: 1}
    after = halved._modules[name].state_dict()
    assert all(torch.equal(after[key], value) and after[key].dtype == value.dtype for key, value in before.items())
    whole = load_depthcrafter(models, device=CPU)
    whole._modules[name].load_state_dict(before)
    assert torch.equal(found, call(whole, window)) and not any(whole.retries.values())
    call(halved, window)
    assert halved.retries[name] == 2


@pytest.mark.slow
def test_where_float32_does_not_fit_it_is_repeated_in_bfloat16(models, window):
    halved = loud(half(models))
    tried = []

    def cramped(_module, args):
        tried.append(args[0].dtype)
        if args[0].dtype == torch.float32:
            raise torch.OutOfMemoryError("no room")
    unet_of(halved).conv_in.register_forward_pre_hook(cramped)
    found = halved.predict(window[0], 0.2, window[1])
    assert tried == [torch.float16, torch.float32, torch.bfloat16]
    assert unet_of(halved).conv_in.weight.dtype == torch.float16
    whole = loud(load_depthcrafter(models, device=CPU))
    assert (found - whole.predict(window[0], 0.2, window[1])).abs().mean() < 0.05 * found.std()


def test_where_nothing_fits_the_caller_hears_of_it(models, window):
    halved = loud(half(models))

    def cramped(_module, args):
        if args[0].dtype != torch.float16:
            raise torch.OutOfMemoryError("no room")
    unet_of(halved).conv_in.register_forward_pre_hook(cramped)
    with pytest.raises(torch.OutOfMemoryError):
        halved.predict(window[0], 0.2, window[1])
    assert unet_of(halved).conv_in.weight.dtype == torch.float16 and hooks_of(halved) == 1


@pytest.mark.slow
@pytest.mark.parametrize("precision", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("name", "call", "said"), [(*CALLS[0], "U-Net"), (*CALLS[1], "VAE"),
                                                    (*CALLS[2], "image encoder")])
def test_no_numbers_in_any_precision_is_an_error(models, window, precision, name, call, said):
    spoilt = half(models, precision)
    list(spoilt._modules[name].parameters())[-1].data.fill_(float("nan"))
    for module in (unet_of(spoilt).conv_out, vae_of(spoilt).decoder.time_conv_out):
        module.bias.data.fill_(float("nan"))
    with pytest.raises(StereoDiffError, match=f"The {said}'s answer") as raised:
        call(spoilt, window)
    assert raised.value.code == "network_not_finite"
    assert spoilt.retries[name] == (precision != torch.float32)


def test_encoding_that_gives_no_numbers(networks):
    vae_of(networks).quant_conv.bias.data.fill_(float("inf"))
    with pytest.raises(StereoDiffError, match="The VAE's answer"):
        networks.encode(torch.rand(1, 3, 64, 64))


# --- Place -------------------------------------------------------------------------------------------------------

def test_channels_may_lie_last(models, networks, window):
    """As they do on a graphics device."""
    unet = unet_of(networks)
    expected = networks.predict(window[0], 0.2, window[1])
    lay_out(unet)
    convolutions = [part for part in unet.modules() if isinstance(part, torch.nn.Conv2d)]
    assert len(convolutions) > 10
    assert all(part.weight.is_contiguous(memory_format=torch.channels_last) for part in convolutions)
    close(networks.predict(window[0], 0.2, window[1]), expected, 1e-4)


@pytest.fixture
def moves(networks, monkeypatch) -> list[tuple[str, str]]:
    """Where each network is sent, as it happens."""
    found = []
    for name, module in networks._modules.items():
        monkeypatch.setattr(module, "to", lambda place, name=name: found.append((name, str(place))))
    networks.device = torch.device("meta")  # stands for a graphics device
    return found


def test_with_offloading_only_the_network_in_use_is_on_the_device(networks, moves):
    with networks.offloaded(True):
        networks._move_in("image_encoder")
        networks._move_in("vae")
        networks._move_in("unet")
    others = {"image_encoder": ["unet", "vae"], "vae": ["unet", "image_encoder"], "unet": ["vae", "image_encoder"]}
    expected = [move for name, rest in others.items() for move in [*((one, "cpu") for one in rest), (name, "meta")]]
    assert moves[:-3] == expected
    assert sorted(moves[-3:]) == [("image_encoder", "cpu"), ("unet", "cpu"), ("vae", "cpu")]


def test_without_offloading_they_stay_until_the_end(networks, moves):
    with pytest.raises(KeyError), networks.offloaded(False):
        networks._move_in("image_encoder")
        networks._move_in("unet")
        assert moves == [("image_encoder", "meta"), ("unet", "meta")]
        raise KeyError
    assert sorted(moves[2:]) == [("image_encoder", "cpu"), ("unet", "cpu"), ("vae", "cpu")]


def test_offloading_changes_no_number(networks, window):
    before = networks.predict(window[0], 0.2, window[1])
    with networks.offloaded(True):
        latents = networks.encode(torch.rand(2, 3, 64, 64))
        assert torch.equal(networks.predict(window[0], 0.2, window[1]), before)
        assert networks.decode(latents).shape == (2, 3, 64, 64)
    assert torch.equal(networks.predict(window[0], 0.2, window[1]), before)


def test_weights_are_not_copied_back_from_the_device(networks):
    """They are on the host all the time: the device of this test has memory that nothing can be read from."""
    kept = {name: value.clone() for name, value in unet_of(networks).state_dict().items()}
    networks.device = torch.device("meta")
    with networks.offloaded(False):
        networks._move_in("unet")
        assert all(parameter.is_meta for parameter in unet_of(networks).parameters())
    for name, value in unet_of(networks).state_dict().items():
        assert torch.equal(value, kept[name])


def test_the_host_has_no_memory_to_plan_with(networks):
    networks.free_unused()
    assert networks.free_bytes() is None and networks.peak_megabytes() is None


# --- Compiling ---------------------------------------------------------------------------------------------------

@pytest.mark.slow
def test_compiled_blocks_hear_of_every_new_window(models, networks, window, monkeypatch):
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    compiled = load_depthcrafter(models, device=CPU, compiled=True)
    for embeddings in (window[1], window[1].flip(0)):
        close(compiled.predict(window[0], 0.2, embeddings), networks.predict(window[0], 0.2, embeddings), 1e-5)
    assert hooks_of(compiled) == 0


@pytest.mark.slow
def test_what_cannot_be_compiled_is_an_error_in_words(models, window, monkeypatch):
    def broken(graph, examples):
        raise OSError("no compiler")
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=broken))
    compiled = load_depthcrafter(models, device=CPU, compiled=True)
    with pytest.raises(StereoDiffError, match="cannot be compiled here") as raised:
        compiled.predict(window[0], 0.2, window[1])
    assert raised.value.code == "runtime_broken"


@pytest.mark.slow
def test_a_retry_of_compiled_blocks(models, window, monkeypatch):
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    compiled = loud(load_depthcrafter(models, device=CPU, precision=torch.float16, compiled=True))
    expected = loud(half(models)).predict(window[0], 0.2, window[1])
    assert torch.equal(compiled.predict(window[0], 0.2, window[1]), expected) and compiled.retries["unet"] == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_on_a_graphics_device(models, networks, window):
    device = torch.device("cuda")
    on_device = load_depthcrafter(models, device=device)
    assert on_device.precision == torch.float16
    for is_on in (False, True):
        with on_device.offloaded(is_on):
            found = on_device.predict(window[0], 0.2, window[1])
            assert on_device.free_bytes() > 0 and on_device.peak_megabytes() > 0
        expected = networks.predict(window[0], 0.2, window[1])
        assert (found - expected).abs().mean() < 0.02 * expected.std()
        assert next(unet_of(on_device).parameters()).device == CPU
    assert np.isfinite(on_device.decode(torch.randn(2, 4, 8, 8)).numpy()).all()
    overflowing = loud(load_depthcrafter(models, device=device))
    assert overflowing.predict(window[0], 0.2, window[1]).isfinite().all() and overflowing.retries["unet"] == 1
