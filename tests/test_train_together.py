"""Two processes train as one does: same losses, same weights, one set of files, and nobody waits for ever."""

import json

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
import torch
from torch import multiprocessing, nn

from covid19net.errors import InputError
from covid19net.nets.covid19net import COVID19Net
from covid19net.train.classify import Logit
from covid19net.train.fit import Schedule, Site, Supply, fit
from covid19net.train.together import JoinedNorm, joined, rank, together, world

CPU = torch.device("cpu")
STOP = 8  # step in which the small network's run is cut off; it is saved after step 6 and judged after 5


def stacked(samples, device):
    return tuple(torch.from_numpy(np.stack(part)).to(device) for part in zip(*samples, strict=True))


def blobs(size):
    """Noise, brighter on one side in every other sample; samples differ, so that parts of a batch differ."""

    def draw(rng, place):
        image = rng.standard_normal((1, *size), np.float32) * np.float32(1 + place % 4)
        image[:, :, : size[1] // 2] += 2 * (place % 2)
        return image, np.float32(place % 2)

    return Supply(draw, stacked)


def small_network():
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv3d(1, 4, 3, bias=False),
        nn.BatchNorm3d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(864, 1),
        nn.Flatten(0),
    )


def whole_network():
    torch.manual_seed(3)
    return Logit(COVID19Net()).to(memory_format=torch.channels_last_3d)


class Precise(Logit):
    """COVID-19Net in float64, where what two processes do differently cannot hide behind rounding."""

    def __init__(self):
        torch.manual_seed(3)
        super().__init__(COVID19Net())
        self.double()

    def forward(self, x):
        return super().forward(x.double())


entropy = nn.functional.binary_cross_entropy_with_logits
SMALL = (small_network, blobs((8, 8, 8)), Schedule(12, 8, 0.01, save_every=3, judge_every=5, average=0.8))
WHOLE = (whole_network, blobs((8, 40, 60)), Schedule(4, 4, 1e-3, average=0.5))
PRECISE = (Precise, *WHOLE[1:])
RECIPES = {"small": SMALL, "whole": WHOLE, "precise": PRECISE}


def judge(network):
    assert rank() == 0
    return -abs(network[-2].bias.item())


def cut_off(output, target, calls=[]):  # noqa: B006
    calls.append(1)
    if len(calls) == STOP:
        raise KeyboardInterrupt
    return entropy(output, target)


def fault(*args, **options):
    """The line with which a run ends."""
    try:
        fit(*args, **options)
    except InputError as error:
        return str(error)
    return None


def refusing(_):
    raise InputError("no cases to judge")


def train(number, folder):
    """What one of two processes does; it leaves its results in a folder of its own."""
    torch.set_num_threads(1)
    own = folder / f"rank{number}"
    own.mkdir()
    site = Site(checkpoint=own / "run.safetensors", metrics=own / "run.jsonl")
    results = {}
    with together(number, 2, f"file://{folder}/meeting"):
        make, supply, schedule = SMALL
        try:
            fit(make(), supply, cut_off, schedule, judge=judge, site=site)
        except KeyboardInterrupt:
            results["cut off"] = True
        network = make()
        if number == 1:
            nn.init.zeros_(network[-2].weight)  # the first process's weights count
        history = fit(network, supply, entropy, schedule, judge=judge, site=site)
        results |= {"losses": history.losses, "scores": history.scores}
        save_file(network.state_dict(), folder / f"small{number}.safetensors")
        for name in ("whole", "precise"):
            make, supply, schedule = RECIPES[name]
            network = make()
            results[name] = fit(network, supply, entropy, schedule).losses
            state = {k: v.contiguous() for k, v in network.state_dict().items()}
            save_file(state, folder / f"{name}{number}.safetensors")
        results["odd"] = fault(nn.Linear(1, 1), supply, entropy, Schedule(1, 3))
        results["refused"] = fault(small_network(), SMALL[1], entropy, Schedule(1, 4), judge=refusing)
        results["diverged"] = fault(
            small_network(),
            SMALL[1],
            lambda a, b: entropy(a, b) * (torch.nan if rank() else 1),
            Schedule(2, 4),
        )
    (folder / f"results{number}.json").write_text(json.dumps(results))


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The folder in which two processes have trained."""
    folder = tmp_path_factory.mktemp("two")
    multiprocessing.spawn(train, (folder,), nprocs=2)
    return folder


@pytest.fixture(scope="module")
def results(two):
    return [json.loads((two / f"results{i}.json").read_text()) for i in (0, 1)]


def alone(recipe, **options):
    with torch.random.fork_rng():
        make, supply, schedule = recipe
        network = make()
        return network, fit(network, supply, entropy, schedule, **options)


def assert_same_weights(network, file, schedule, share):
    """Equal up to a share of the way that a weight could have gone; statistics to 1e-4."""
    found = load_file(file)
    way = share * schedule.learning_rate * schedule.steps
    for name, tensor in network.state_dict().items():
        np.testing.assert_allclose(found[name], tensor, rtol=1e-4, atol=way, err_msg=name)


def test_a_small_network_trains_as_in_one_process(two, results):
    network, history = alone(SMALL, judge=judge)
    assert results[0]["cut off"]
    np.testing.assert_allclose(results[0]["losses"], history.losses, rtol=1e-5)
    np.testing.assert_allclose(results[0]["scores"], history.scores, rtol=1e-4)
    assert [step for step, _ in history.scores] == [5, 10, 12]
    assert_same_weights(network, two / "small0.safetensors", SMALL[2], 1e-3)


def test_covid19net_trains_as_in_one_process(results):
    # Adam divides a gradient by its own size, which lifts rounding to the size of a step. In one process the
    # order of the samples in these batches changes the fourth loss by 3e-3, so float32 cannot agree better.
    _, history = alone(WHOLE)
    np.testing.assert_allclose(results[0]["whole"][0], history.losses[0], rtol=1e-6)
    np.testing.assert_allclose(results[0]["whole"], history.losses, rtol=1e-2)


def test_covid19net_trains_exactly_as_in_one_process_without_rounding(two, results):
    network, history = alone(PRECISE)
    np.testing.assert_allclose(results[0]["precise"], history.losses, rtol=1e-6)
    assert_same_weights(network, two / "precise0.safetensors", PRECISE[2], 1e-3)


@pytest.mark.parametrize("name", RECIPES)
def test_both_processes_end_alike(two, results, name):
    assert results[0] == results[1]
    first, second = (load_file(two / f"{name}{i}.safetensors") for i in (0, 1))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[k], second[k]) for k in first)


def test_only_the_first_process_writes_files(two):
    assert sorted(p.name for p in (two / "rank0").iterdir()) == ["run.jsonl", "run.safetensors"]
    assert list((two / "rank1").iterdir()) == []
    lines = [json.loads(line) for line in (two / "rank0" / "run.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 13))


def test_a_fault_in_one_process_ends_both(results):
    assert results[1]["odd"] == "2 processes cannot share batches of 3 equally"
    assert results[1]["refused"] == "no cases to judge"
    assert "diverged at step 0" in results[0]["diverged"]


def test_one_process_joins_nobody():
    with together(0, 1, "tcp://nowhere:1"):
        assert (rank(), world()) == (0, 1)
        network = nn.BatchNorm3d(2)
        assert joined(network, CPU) is network


def test_a_rank_beyond_the_processes_is_refused():
    with (
        pytest.raises(InputError, match="rank 2 is not among 2 processes"),
        together(2, 2, "tcp://nowhere:1"),
    ):
        pass


def test_a_joined_norm_of_one_process_is_a_batch_norm(tmp_path):
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.standard_normal((3, 2, 4, 5, 6), np.float32) * 3 + 50)
    back = torch.from_numpy(rng.standard_normal((3, 2, 4, 5, 6), np.float32))
    plain, inner = nn.BatchNorm3d(2, eps=1e-3, momentum=0.3), nn.BatchNorm3d(2, eps=1e-3, momentum=0.3)
    for norm in (plain, inner):
        nn.init.constant_(norm.weight, 1.7)
        nn.init.constant_(norm.bias, -0.4)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1
    )
    try:
        results = []
        for module, norm in ((plain, plain), (JoinedNorm(inner), inner)):
            given = x.clone().requires_grad_()
            out = module(given)
            out.backward(back)
            results.append([out, given.grad, norm.weight.grad, norm.bias.grad, *norm.buffers()])
    finally:
        torch.distributed.destroy_process_group()
    for found, expected in zip(results[1], results[0], strict=True):
        np.testing.assert_allclose(found.detach(), expected.detach(), rtol=1e-4, atol=1e-5)


def test_a_norm_that_cannot_be_joined_is_refused():
    with pytest.raises(InputError, match="batch norms with weights"):
        JoinedNorm(nn.BatchNorm3d(2, affine=False))
