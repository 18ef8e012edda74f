"""Training under torchrun: a process that is killed, a run that goes on with fewer, and the same weights."""

import json
import os
from pathlib import Path
import signal
import subprocess
import sys

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
import torch

from covid19net.cli.train import joined
from covid19net.train.fit import Site, fit
from covid19net.train.together import rank, world
from tests.test_train_together import SMALL, assert_same_weights, entropy

KILLED = 8  # step in which the second process of the first attempt is killed; the run is saved after step 6
LEFT = 5  # step after which the run is left, to be continued by another number of processes


def attempt() -> int:
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def train(folder: Path, trouble: str) -> None:
    """What each process does; the first writes what comes of it."""
    torch.set_num_threads(1)
    make, supply, schedule = SMALL
    steps = []

    def loss(output, target):
        steps.append(1)
        if trouble == "killed" and rank() == 1 and attempt() == 0 and len(steps) == KILLED:
            os.kill(os.getpid(), signal.SIGKILL)
        if trouble == "left" and len(steps) == LEFT:
            os._exit(1)
        return entropy(output, target)

    with joined("cpu") as device:
        network = make()
        site = Site(device=device, checkpoint=folder / "run.safetensors")
        history = fit(network, supply, loss, schedule, site=site)
        if rank() == 0:
            save_file(network.state_dict(), folder / "done.safetensors")
            facts = {"losses": history.losses, "steps": len(steps), "attempt": attempt(), "world": world()}
            (folder / "done.json").write_text(json.dumps(facts))


def torchrun(folder: Path, trouble: str, processes: int, restarts: int) -> int:
    """Start processes as a cluster would, and return the exit code of all."""
    root = Path(__file__).parents[1]
    search = os.pathsep.join([str(root), *filter(None, sys.path)])
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nnodes", "1", "--nproc-per-node", str(processes),
        "--max-restarts", str(restarts), "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0",
        "--monitor-interval", "0.2", __file__, str(folder), trouble,
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": search, "OMP_NUM_THREADS": "1", "TORCHELASTIC_ERROR_FILE": ""}
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, timeout=120)
    return done.returncode


@pytest.fixture(scope="module")
def alone():
    """The run of one process that nothing happens to."""
    with torch.random.fork_rng():
        make, supply, schedule = SMALL
        network = make()
        return network, fit(network, supply, entropy, schedule).losses


def test_a_killed_process_is_started_again_and_the_run_goes_on(tmp_path, alone):
    assert torchrun(tmp_path, "killed", 2, restarts=1) == 0
    done = json.loads((tmp_path / "done.json").read_text())
    assert (done["attempt"], done["world"]) == (1, 2)
    assert done["steps"] == 12 - 6  # from the checkpoint, not from the beginning
    np.testing.assert_allclose(done["losses"], alone[1], rtol=1e-5)
    assert_same_weights(alone[0], tmp_path / "done.safetensors", SMALL[2], 1e-3)


def test_another_number_of_processes_goes_on_with_a_run(tmp_path, alone):
    assert torchrun(tmp_path, "left", 2, restarts=0) != 0
    assert not (tmp_path / "done.json").exists()
    assert torchrun(tmp_path, "", 1, restarts=0) == 0
    done = json.loads((tmp_path / "done.json").read_text())
    assert (done["steps"], done["world"]) == (12 - 3, 1)  # saved after step 3
    np.testing.assert_allclose(done["losses"], alone[1], rtol=1e-5)
    assert_same_weights(alone[0], tmp_path / "done.safetensors", SMALL[2], 1e-3)
    assert load_file(tmp_path / "done.safetensors").keys() == alone[0].state_dict().keys()


if __name__ == "__main__":
    train(Path(sys.argv[1]), sys.argv[2])
