"""The two-view network against the numbers of the original, and against itself: frames alone, in batches, in halves."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from golden import golden_file, golden_json, tensors  # noqa: E402
from golden_networks import formula_network, tiny_network  # noqa: E402
from tiny_monst3r import TINY, write_tiny_monst3r  # noqa: E402

from stereodiff_blender.engine.contract import StereoDiffError  # noqa: E402
from stereodiff_blender.engine.stereo.monst3r.checkpoint import load_network, published_name  # noqa: E402
from stereodiff_blender.engine.stereo.monst3r.config import NetworkConfig  # noqa: E402
from stereodiff_blender.engine.stereo.monst3r.network import TwoViewNetwork  # noqa: E402
from stereodiff_blender.engine.stereo.monst3r.pointmaps import PairPointmaps  # noqa: E402
from stereodiff_blender.engine.stereo.monst3r.rope import grid_positions, rotary_table, rotate  # noqa: E402

CPU = torch.device("cpu")
OF_LARGEST = 2e-5
"""Differences allowed, relative to a tensor's largest value: the vectors' README has seen 1.3e-5 between programs."""


# --- Golden ------------------------------------------------------------------------------------------------------

def recorded(network: TwoViewNetwork, expected: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run the pair of a reference file; everything that came by, named as in that file."""
    calls = defaultdict(list)
    for name, module in network.named_modules():
        module.register_forward_hook(lambda _, __, output, name=name: calls[name].append(output))
    images = [torch.from_numpy(expected[name]) for name in ("img1", "img2")]
    together = images[0].shape == images[1].shape and expected["enc_norm"].shape[0] == 2
    with torch.no_grad():
        encoded = network.encode(torch.cat(images)) if together else [network.encode(image)[0] for image in images]
        found = network.match(encoded[:1], encoded[1:])
    return {**passed_by(network, calls, together), "pts3d_1": found.points_i, "pts3d_2_in_view1": found.points_j,
            "conf_1": found.confidence_i, "conf_2": found.confidence_j}


def passed_by(network: TwoViewNetwork, calls: dict, together: bool) -> dict[str, torch.Tensor]:
    named = {}

    def add(name: str, outputs: list) -> None:
        named.update({name + ("" if call == 0 else f"#{call}"): output for call, output in enumerate(outputs)})

    add("patch_embed", [planes.flatten(2).transpose(1, 2) for planes in calls["patches"]])
    for index in range(network.config.encoder_depth):
        add(f"enc_block_{index:02}", calls[f"encoder.{index}"])
    add("enc_norm", calls["encoder_norm"])
    embedded = calls["embed"]
    add("decoder_embed", list(embedded[0].split(1)) if together else embedded)
    add("dec_norm", calls["decoder_norm"])
    for role in (0, 1):
        for level in range(network.config.decoder_depth):
            add(f"dec_block{role + 1}_{level:02}", calls[f"decoders.{role}.{level}"])
        head = f"heads.{role}"
        for level in range(4):
            add(f"head{role + 1}_act_postprocess_{level}", of_role(calls[f"{head}.reassemble.{level}"], role))
            add(f"head{role + 1}_layer_rn_{level}", of_role(calls[f"{head}.adapt.{level}"], role))
            add(f"head{role + 1}_refinenet{level + 1}", calls[f"{head}.fusions.{level}"])
        add(f"head{role + 1}_raw", calls[f"heads.{role}"])
    return named


def of_role(outputs: list, role: int) -> list:
    """The finest level is run for every frame in either role; only the frame that has this role is meant."""
    frames = [part for output in outputs for part in output.split(1)]
    return [frames[role if len(frames) > 1 else 0]]


def compare_all(found: dict[str, torch.Tensor], expected: dict[str, np.ndarray]) -> None:
    outputs = {name: value for name, value in expected.items() if not name.startswith("img")}
    assert outputs
    for name, value in outputs.items():
        assert found[name].shape == value.shape, name
        worst = float(np.abs(found[name].numpy() - value).max() / np.abs(value).max())
        assert worst < OF_LARGEST, f"{name} differs by {worst:.1e} of its largest value"


@pytest.mark.parametrize("name", ["landscape", "portrait", "mixed"])
def test_golden_tiny_network(name):
    expected = tensors(golden_file("monst3r", f"tiny_{name}.safetensors"))
    compare_all(recorded(tiny_network(), expected), expected)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dpt_fullwidth", "official_config_formula_weights"])
def test_golden_formula_network(name):
    file = golden_file("monst3r", f"{name}.safetensors")
    expected = tensors(file)
    network = formula_network(file)
    if "enc_norm" not in expected:
        images = [torch.from_numpy(expected[image]) for image in ("img1", "img2")]
        calls = []
        for head in network.heads:
            head.register_forward_hook(lambda _, __, raw: calls.append(raw))
        with torch.no_grad():
            found = network.match(*([network.encode(image)[0]] for image in images))
        compare_all({"head1_raw": calls[0], "head2_raw": calls[1], "pts3d_1": found.points_i,
                     "pts3d_2_in_view1": found.points_j, "conf_1": found.confidence_i,
                     "conf_2": found.confidence_j}, expected)
    else:
        compare_all(recorded(network, expected), expected)


@pytest.mark.parametrize("suffix", ["", "64"])
def test_golden_rotary_code(suffix):
    stored = tensors(golden_file("monst3r", "rope2d.safetensors"))
    tokens, positions = (torch.from_numpy(stored[name + suffix]) for name in ("tokens", "positions"))
    turned = rotate(tokens, rotary_table(positions, tokens.shape[-1], 100.0))
    np.testing.assert_allclose(turned.numpy(), stored["out" + suffix], atol=2e-6)


def test_golden_parameters_of_the_released_network():
    released = golden_json("monst3r", "monst3r_state_dict.json")
    with torch.device("meta"):
        network = TwoViewNetwork(NetworkConfig())
    ours = {published_name(name): list(parameter.shape) for name, parameter in network.named_parameters()}
    theirs = {name: entry["shape"] for name, entry in released["tensors"].items()}
    assert ours.items() <= theirs.items()
    unused = theirs.keys() - ours.keys()
    aliases = {name for group in released["shared_groups"] for name in group[1:]}
    assert {name for name in unused if "refinenet4.resConfUnit1" not in name} == aliases | {"mask_token"}
    count = sum(math.prod(shape) for name, shape in theirs.items() if name not in aliases)
    assert count == released["n_unique_parameters"]


# --- By itself ---------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def network(tmp_path_factory) -> TwoViewNetwork:
    folder = write_tiny_monst3r(tmp_path_factory.mktemp("monst3r"))
    return load_network(folder, device=CPU, precision=torch.float32)


def pictures(count: int, height: int = 48, width: int = 64, seed: int = 1) -> torch.Tensor:
    return torch.rand((count, 3, height, width), generator=torch.Generator().manual_seed(seed)) * 2 - 1


def arrays(pointmaps: PairPointmaps) -> list[torch.Tensor]:
    return [pointmaps.points_i, pointmaps.points_j, pointmaps.confidence_i, pointmaps.confidence_j]


@torch.no_grad()
def test_frames_encoded_once_give_what_encoding_per_pair_gives(network):
    frames = pictures(3).split(1)
    kept = [network.encode(frame)[0] for frame in frames]
    for i, j in ((0, 1), (1, 0), (2, 0)):
        afresh = network.match(network.encode(frames[i]), network.encode(frames[j]))
        for once, again in zip(arrays(network.match([kept[i]], [kept[j]])), arrays(afresh), strict=True):
            assert torch.equal(once, again)


@torch.no_grad()
def test_frames_in_a_batch_do_not_touch_each_other(network):
    frames = pictures(3)
    for together, alone in zip(network.encode(frames), frames.split(1), strict=True):
        for role, role_alone in zip(together.roles, network.encode(alone)[0].roles, strict=True):
            for one, other in zip(role.tensors(), role_alone.tensors(), strict=True):
                torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_pairs_in_a_batch_do_not_touch_each_other(network):
    kept = network.encode(pictures(3))
    batch = network.match([kept[0], kept[2]], [kept[1], kept[0]])
    for index, (i, j) in enumerate(((0, 1), (2, 0))):
        for together, alone in zip(arrays(batch), arrays(network.match([kept[i]], [kept[j]])), strict=True):
            torch.testing.assert_close(together[index:index + 1], alone, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_order_of_a_pair_matters(network):
    first, second = network.encode(pictures(2))
    forward, backward = network.match([first], [second]), network.match([second], [first])
    assert float((forward.points_i - backward.points_j).abs().max()) > 0.1


@torch.no_grad()
@pytest.mark.parametrize("sizes", [((16, 16), (16, 48)), ((48, 80), (80, 48)), ((112, 16), (32, 32))])
def test_sizes_of_both_frames_are_kept(network, sizes):
    first, second = (network.encode(pictures(1, *size)) for size in sizes)
    found = network.match(first, second)
    assert found.points_i.shape == (1, *sizes[0], 3) and found.confidence_i.shape == (1, *sizes[0])
    assert found.points_j.shape == (1, *sizes[1], 3) and found.confidence_j.shape == (1, *sizes[1])
    assert all(bool(array.isfinite().all()) for array in arrays(found))
    assert float(min(found.confidence_i.min(), found.confidence_j.min())) > 1


@torch.no_grad()
@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_half_precision_is_close_and_heads_stay_whole(network, tmp_path, precision):
    halved = load_network(write_tiny_monst3r(tmp_path), device=CPU, precision=precision)
    assert {parameter.dtype for parameter in halved.heads.parameters()} == {torch.float32}
    assert halved.encoder[0].mlp.expand.weight.dtype == halved.decoders[1][3].mlp.shrink.weight.dtype == precision
    frames = pictures(2)
    kept, exact_kept = halved.encode(frames), network.encode(frames)
    for found, exact in zip(arrays(halved.match(kept[:1], kept[1:])),
                            arrays(network.match(exact_kept[:1], exact_kept[1:])), strict=True):
        assert found.dtype == torch.float32
        error = float((found - exact).abs().mean() / exact.abs().mean())
        assert 0 < error < 0.03, error


@torch.no_grad()
def test_equal_runs_give_equal_bytes(network):
    runs = [network.match(*([frame] for frame in network.encode(pictures(2)))) for _ in range(2)]
    assert all(torch.equal(one, other) for one, other in zip(arrays(runs[0]), arrays(runs[1]), strict=True))


def test_rotary_code_sees_only_where_tokens_lie_to_each_other():
    generator = torch.Generator().manual_seed(0)
    query, key = (torch.randn((1, 1, 12, 16), generator=generator) for _ in range(2))
    positions = grid_positions(3, 4)
    products = [rotate(query, table) @ rotate(key, table).transpose(-1, -2)
                for table in (rotary_table(positions + shift, 16, 100.0) for shift in (0, 5))]
    torch.testing.assert_close(products[0], products[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("change", [{"encoder_heads": 3}, {"decoder_heads": 0}, {"decoder_depth": 1},
                                    {"encoder_width": 0}, {"rope_base": math.nan}, {"fusion_width": 0}])
def test_measures_that_no_network_has_are_refused(change):
    with pytest.raises(StereoDiffError) as raised:
        replace(TINY, **change)
    assert raised.value.code == "weights_wrong_model"
