"""Patterns of filters: a filter whose best picture is known, seeds, and what regularising does."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from covid19net.errors import InputError
from covid19net.explain.filters import DEPTHS, PATCHES, Recipe, channels_of, maximise
from covid19net.nets import covid19net as nets
from tests.networks import lively

QUICK = Recipe(steps=12)


@pytest.fixture(scope="module")
def backbone():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = lively(nets.COVID19Net()).requires_grad_(requires_grad=False)
    return network.backbone


@pytest.mark.parametrize("stage", DEPTHS)
def test_every_filter_answers_more_to_its_pattern_than_to_noise(backbone, stage):
    told = []
    channels = channels_of(backbone, stage, 2)
    found = maximise(backbone, stage, channels, recipe=QUICK, progress=told.append)
    assert [p.channel for p in found] == list(channels)
    assert told[-1] == 1
    for pattern in found:
        assert pattern.values.shape == PATCHES[stage]
        assert np.isfinite(pattern.values).all()
        assert pattern.after > pattern.before


def test_the_pattern_of_an_edge_filter_is_that_edge():
    # By hand: all of the stem but one path is zero; that path subtracts the voxel behind from the one before.
    backbone = nets.Backbone().eval().requires_grad_(requires_grad=False)
    for conv in (backbone.stem_conv1, backbone.stem_conv2):
        conv.weight.zero_()
    backbone.stem_conv1.weight[0, 0, 1, 1, 1] = 1
    backbone.stem_bn.bias[0] = 10  # stays above zero, where its ReLU is linear
    backbone.stem_conv2.weight[5, 0, 1, 0, 1] = 1
    backbone.stem_conv2.weight[5, 0, 1, 2, 1] = -1
    (found,) = maximise(backbone, "stem", [5], recipe=replace(QUICK, jitter=0, smooth=0, start=0))
    # Of 8 x 12 x 12 voxels the stem makes 8 x 6 x 6; its (4, 2, 3) and (4, 4, 3) are the picture's
    # (4, 5, 7) and (4, 9, 7): 2i + 1 along y and x.
    assert np.argwhere(found.values > 0).tolist() == [[4, 5, 7]]
    assert np.argwhere(found.values < 0).tolist() == [[4, 9, 7]]


def test_the_same_seed_gives_the_same_pattern_and_another_another(backbone):
    def drawn(seed):
        return maximise(backbone, "block1", [40], recipe=QUICK, seed=seed)[0].values

    assert (drawn(0) == drawn(0)).all()
    assert (drawn(0) != drawn(1)).any()


def test_smoothing_smooths(backbone):
    def roughness(smooth):
        x = maximise(backbone, "block1", [40], recipe=replace(QUICK, smooth=smooth))[0].values
        return np.abs(np.diff(x, axis=2)).mean() / x.std()

    assert roughness(0.1) < 0.9 * roughness(0)


def test_filters_are_those_the_stage_adds(backbone):
    # Channels of the stages by the paper's growth: 16; 16 + 2 x 16; 16 + 3 x 24; 24 + 4 x 32.
    last = {"stem": (0, 16), "block1": (32, 48), "block2": (64, 88), "block3-unpooled": (120, 152)}
    for stage, (low, high) in last.items():
        assert channels_of(backbone, stage, 99) == tuple(range(low, high))


def test_what_is_no_filter_is_refused(backbone):
    with pytest.raises(InputError, match="choose from stem"):
        maximise(backbone, "block4", [0], recipe=QUICK)
    with pytest.raises(InputError, match="channels 0 to 15"):
        maximise(backbone, "stem", [16], recipe=QUICK)
