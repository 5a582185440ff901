"""Running all pairs: every frame encoded once, few frames held, pairs handed out as they come."""

from __future__ import annotations

import gc
from itertools import islice

import numpy as np
import pytest
from recording_report import RecordingReport

torch = pytest.importorskip("torch")

from tiny_monst3r import write_tiny_monst3r  # noqa: E402

from stereodiff_blender.engine.contract import STAGE_LABELS, StereoDiffError  # noqa: E402
from stereodiff_blender.engine.report import Report  # noqa: E402
from stereodiff_blender.engine.stereo.monst3r.checkpoint import load_network  # noqa: E402
from stereodiff_blender.engine.stereo.monst3r.config import NetworkConfig  # noqa: E402
from stereodiff_blender.engine.stereo.monst3r.matching import bytes_of_pair, default_precision, match_pairs  # noqa: E402
from stereodiff_blender.engine.stereo.monst3r.network import FrameFeatures, TwoViewNetwork  # noqa: E402
from stereodiff_blender.engine.stereo.monst3r.pairs import window_pairs  # noqa: E402
from stereodiff_blender.engine.stereo.monst3r.raster import normalized  # noqa: E402


@pytest.fixture
def network(tmp_path) -> TwoViewNetwork:
    return load_network(write_tiny_monst3r(tmp_path), device=torch.device("cpu"), precision=torch.float32)


def clip(count: int, height: int = 32, width: int = 48) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, height, width, 3), np.uint8)


def maps(pointmaps) -> list[np.ndarray]:
    return [pointmaps.points_i, pointmaps.points_j, pointmaps.confidence_i, pointmaps.confidence_j]


def test_pairs_come_in_order_and_are_the_networks_own(network):
    frames, pairs = clip(4), window_pairs(4)
    found = list(match_pairs(network, frames, pairs, report=Report()))
    assert [(i, j) for i, j, _ in found] == pairs
    with torch.no_grad():
        features = [network.encode(torch.from_numpy(normalized(frame))[None])[0] for frame in frames]
        for i, j, pointmaps in found:
            direct = network.match([features[i]], [features[j]])
            for ours, expected in zip(maps(pointmaps), maps(direct), strict=True):
                assert ours.dtype == np.float32
                np.testing.assert_array_equal(ours, expected[0].numpy())


@pytest.mark.slow
def test_each_frame_is_encoded_once_and_few_are_held(network):
    encoded, held = [], []
    network.encoder_norm.register_forward_hook(lambda _, inputs, __: encoded.append(len(inputs[0])))
    for _ in match_pairs(network, clip(7), window_pairs(7), report=Report()):
        held.append(sum(type(thing) is FrameFeatures for thing in gc.get_objects()))  # noqa: PERF401
    assert sum(encoded) == 7
    assert max(held) == 3


def test_frames_are_fetched_only_when_their_pairs_come(network):
    frames, fetched = clip(20), []

    class Fetching:
        def __getitem__(self, index):
            fetched.append(index)
            return frames[index]

    assert len(list(islice(match_pairs(network, Fetching(), window_pairs(20), report=Report()), 4))) == 4
    assert fetched == [0, 1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("batch_size", [2, 5, 100])
def test_batches_give_the_same(network, batch_size):
    frames, pairs = clip(6), window_pairs(6)
    singly = match_pairs(network, frames, pairs, report=Report(), batch_size=1)
    together = match_pairs(network, frames, pairs, report=Report(), batch_size=batch_size)
    for (*pair, one), (*other_pair, other) in zip(singly, together, strict=True):
        assert pair == other_pair
        for ours, expected in zip(maps(one), maps(other), strict=True):
            np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)


def test_frames_of_different_sizes(network):
    frames = [clip(1)[0], clip(1, 48, 32)[0], clip(1)[0], clip(1, 64, 64)[0]]
    for i, j, pointmaps in match_pairs(network, frames, window_pairs(4), report=Report(), batch_size=8):
        assert pointmaps.points_i.shape == frames[i].shape and pointmaps.points_j.shape == frames[j].shape
        assert pointmaps.confidence_i.shape == frames[i].shape[:2]


def test_progress_is_told(network):
    report = RecordingReport()
    list(match_pairs(network, clip(4), window_pairs(4), report=report, batch_size=4))
    assert report.stages == [("match", 10)]
    assert report.steps == [("match", 4), ("match", 8), ("match", 10)]
    assert "match" in STAGE_LABELS


def test_equal_runs_give_equal_bytes(network):
    runs = [[maps(pointmaps) for *_, pointmaps in match_pairs(network, clip(4), window_pairs(4), report=Report())]
            for _ in range(2)]
    for one, other in zip(*runs, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_callers_torch_stays_as_it_was(network):
    for _ in match_pairs(network, clip(3), window_pairs(3), report=Report()):
        assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_network_that_gives_no_numbers(network, number):
    with torch.no_grad():
        network.heads[1].predict.bias[3] = number
    with pytest.raises(StereoDiffError) as raised:
        list(match_pairs(network, clip(3), window_pairs(3), report=Report()))
    assert raised.value.code == "network_not_finite"
    assert "Frames 1 and 2 " in raised.value.message


class OnSmallDevice(TwoViewNetwork):
    """Runs out of memory as a device does, when more pairs at once are asked of it than it holds."""

    holds = 0

    def match(self, features_i, features_j):
        if len(features_i) > self.holds:
            raise torch.OutOfMemoryError("out of memory")
        return super().match(features_i, features_j)


@pytest.mark.parametrize("holds", [1, 3])
def test_too_large_a_batch_is_split(network, holds):
    network.__class__ = OnSmallDevice
    network.holds = holds
    pairs = window_pairs(5)
    found = list(match_pairs(network, clip(5), pairs, report=Report(), batch_size=8))
    assert [(i, j) for i, j, _ in found] == pairs


def test_device_that_holds_no_pair(network):
    network.__class__ = OnSmallDevice
    with pytest.raises(StereoDiffError) as raised:
        list(match_pairs(network, clip(3), window_pairs(3), report=Report(), batch_size=8))
    assert raised.value.code == "out_of_memory"


def test_memory_of_a_pair_covers_the_widest_planes():
    with torch.device("meta"):
        network = TwoViewNetwork(NetworkConfig())
    shape = (288, 512)
    last_planes = 2 * 4 * network.config.output_width * shape[0] * shape[1]  # read and written by one convolution
    assert last_planes < bytes_of_pair(network, shape) < 10 * last_planes
    assert bytes_of_pair(network, (576, 1024)) == 4 * bytes_of_pair(network, shape)


def test_precision_of_a_cpu_is_whole():
    assert default_precision(torch.device("cpu")) == torch.float32
