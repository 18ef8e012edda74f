"""The training loop: rates and averages worked out by hand, interruption, divergence."""

import numpy as np
import pytest
import torch
from torch import nn

from covid19net.errors import InputError
from covid19net.train.fit import Schedule, averaging, fit, rate_at


def line(rng, count):
    """Points of y = 3 x - 1."""
    x = torch.from_numpy(rng.standard_normal((count, 1), np.float32))
    return x, 3 * x - 1


def small_network():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(1, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))


squared = nn.functional.mse_loss


def weights(network):
    return torch.cat([p.flatten() for p in network.state_dict().values()]).double().numpy()


def test_the_rate_rises_in_a_line_and_falls_along_half_a_cosine():
    schedule = Schedule(100, learning_rate=1.0, rise=0.2)
    assert rate_at(schedule, 0) == pytest.approx(1 / 21)
    assert rate_at(schedule, 19) == pytest.approx(20 / 21)
    assert rate_at(schedule, 20) == pytest.approx(1.0)
    assert rate_at(schedule, 60) == pytest.approx(0.5)  # half way down: cos(pi / 2) = 0
    assert rate_at(schedule, 80) == pytest.approx(0.5 - 0.5 * np.sqrt(0.5))  # cos(3 pi / 4) = -sqrt(1/2)


def test_the_average_forgets_the_start_quickly():
    schedule = Schedule(10, average=0.99)
    assert averaging(schedule, 0) == pytest.approx(0.1)
    assert averaging(schedule, 10**6) == 0.99


def test_a_line_is_learned():
    network = nn.Linear(1, 1)
    losses = fit(network, line, squared, Schedule(400, 16, learning_rate=0.1, average=0.9, weight_decay=0.0))
    assert len(losses) == 400
    assert losses[-1] < 1e-4
    assert network.weight.item() == pytest.approx(3, abs=0.02)
    assert network.bias.item() == pytest.approx(-1, abs=0.02)
    assert not network.training


def test_one_step_of_adam_moves_each_weight_by_the_rate():
    # The first step of Adam is the rate times the gradient's sign (Kingma and Ba 2015, section 2.1);
    # the average keeps a tenth of the start.
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    schedule = Schedule(1, 4, learning_rate=0.5, rise=0.0, weight_decay=0.0)
    fit(network, lambda _, n: (torch.ones(n, 1), torch.ones(n, 1)), squared, schedule)
    assert network.weight.item() == pytest.approx(0.9 * 0.5, abs=1e-6)


def test_an_interrupted_run_ends_with_the_same_weights(tmp_path):
    schedule = Schedule(30, 8, learning_rate=0.05, save_every=10)
    whole = small_network()
    losses = fit(whole, line, squared, schedule)

    def breaks(rng, count, done=[]):  # noqa: B006
        done.append(1)
        if len(done) > 24:
            raise KeyboardInterrupt
        return line(rng, count)

    checkpoint = tmp_path / "run.safetensors"
    with pytest.raises(KeyboardInterrupt):
        fit(small_network(), breaks, squared, schedule, checkpoint=checkpoint)
    resumed = small_network()
    again = fit(resumed, line, squared, schedule, checkpoint=checkpoint)
    assert again == pytest.approx(losses, rel=1e-6)
    np.testing.assert_allclose(weights(resumed), weights(whole), rtol=1e-5, atol=1e-7)


def test_a_finished_run_is_not_trained_again(tmp_path):
    schedule = Schedule(5, 4, save_every=100)
    first, second = small_network(), small_network()
    fit(first, line, squared, schedule, checkpoint=tmp_path / "run.safetensors")

    def never(*_):
        raise AssertionError("a batch was drawn for a step that is done")

    fit(second, line, squared, schedule, checkpoint=tmp_path / "run.safetensors")
    assert np.array_equal(weights(first), weights(second))


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    checkpoint = tmp_path / "run.safetensors"
    fit(nn.Linear(1, 1), line, squared, Schedule(2), checkpoint=checkpoint)
    with pytest.raises(InputError, match=r"run\.safetensors holds a run with another schedule"):
        fit(nn.Linear(1, 1), line, squared, Schedule(3), checkpoint=checkpoint)
    with pytest.raises(InputError, match="another network"):
        fit(small_network(), line, squared, Schedule(2), checkpoint=checkpoint)


def test_a_loss_that_is_no_number_stops_the_run():
    with pytest.raises(InputError, match="diverged at step 0"):
        fit(nn.Linear(1, 1), line, lambda a, b: (a - b).sum() * torch.nan, Schedule(2))


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"steps": 1, "batch": 0}, {"steps": 1, "rise": 1.0}])
def test_a_schedule_that_cannot_be_run_is_refused(wrong):
    with pytest.raises(InputError):
        Schedule(**wrong)
