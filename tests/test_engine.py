from concurrent.futures import ThreadPoolExecutor
import hashlib
import json
from pathlib import Path
import shutil
import subprocess
import sys

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from covid19net import engine
from covid19net.engine.device import memory_told
from covid19net.errors import InputError, ResourceError, WeightsError
from covid19net.weights import WeightFile, load_network, registry, tensors_of, write_weights
from covid19net.weights.files import sha256_of

torch = pytest.importorskip("torch")

CARD = {
    "name": "test",
    "licence": "Apache-2.0",
    "origin": "random numbers",
    "training_data": "none",
    "intended_use": "tests",
}


def shake(network):
    """Random weights that keep the signal alive, and batch norms of which none is an identity."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Conv3d):
            torch.nn.init.kaiming_normal_(module.weight, generator=generator)
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.BatchNorm3d):
            size = module.running_mean.shape
            module.running_mean.copy_(0.1 * torch.randn(size, generator=generator))
            module.running_var.copy_(0.5 + torch.rand(size, generator=generator))
            module.weight.data.copy_(0.5 + torch.rand(size, generator=generator))
            module.bias.data.copy_(0.1 * torch.randn(size, generator=generator))
    return network.eval()


def random_slices(count):
    return np.random.default_rng(2).standard_normal((count, 3, 256, 256), dtype=np.float32)


def smooth_slices(count):
    """Random blobs about as large as lungs, z-scored: outlines are short, as they are in a CT."""
    blobs = gaussian_filter(random_slices(count), (0, 0, 16, 16))
    return blobs / blobs.std(axis=(2, 3), keepdims=True)


def teach_blobs(network):
    """Fit the last layer by least squares to the brightness of `smooth_slices`: the masks are its blobs."""
    slices = torch.from_numpy(smooth_slices(2))
    seen = []
    hook = network.predict.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    with torch.inference_mode():
        network(slices)
    hook.remove()
    columns = seen[0].movedim(1, -1).flatten(0, 2)
    columns = torch.cat([columns, torch.ones_like(columns[:, :1])], 1)
    wanted = 4 * slices[:, 1].flatten()
    taught = torch.linalg.lstsq(columns.double(), wanted.double()[:, None]).solution[:, 0]
    network.predict.weight.data.zero_()
    network.predict.weight.data[0, :, 1, 1] = taught[:-1]
    network.predict.bias.data[0] = taught[-1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A weight set of random networks: lungs in float16, diagnosis in float32, both converted."""
    from covid19net.nets.covid19net import COVID19Net
    from covid19net.nets.densenet_fpn import DenseNetFPN

    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("set")
    lungs = shake(DenseNetFPN(32, 32))
    teach_blobs(lungs)
    halves = {name: array.astype(np.float16) for name, array in tensors_of(lungs).items()}
    files = [write_weights(place, "lungs", halves, options={"pyramid": 32, "segmentation": 32}, **CARD)]
    files.append(write_weights(place, "diagnosis", tensors_of(shake(COVID19Net())), **CARD))
    for file in files:
        engine.convert(file)
    return place


@pytest.fixture(scope="module")
def lungs(folder):
    return weights_in(folder, "lungs")


@pytest.fixture(scope="module")
def diagnosis(folder):
    return weights_in(folder, "diagnosis")


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(3).standard_normal((48, 240, 360), dtype=np.float32)


@pytest.fixture(scope="module")
def evidence(diagnosis, image):
    return engine.open_diagnosis(diagnosis, "cpu")(image)


def weights_in(place, task):
    from covid19net.weights import read_card

    return WeightFile(place / f"{task}.safetensors", read_card(place / f"{task}.json"))


def run_python(code, *arguments, **options):
    command = [sys.executable, "-W", "error", "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def distance(found, expected):
    """Largest difference, relative to the largest expected value."""
    return np.abs(found - expected).max() / np.abs(expected).max()


# ---- the same numbers from both engines --------------------------------------------------------------------


def test_evidence_on_the_cpu_is_that_of_torch_and_its_own_differentiation(diagnosis, image, evidence):
    network = load_network(diagnosis)
    with torch.no_grad():
        maps = network.backbone(torch.from_numpy(image)[None, None])
    maps.requires_grad_()
    logit, features = network.head(maps)
    (gradient,) = torch.autograd.grad(logit.sum(), maps)
    assert evidence.logit == pytest.approx(logit.item(), abs=1e-4)
    assert distance(evidence.features, features.detach().numpy()[0]) < 1e-4
    assert distance(evidence.maps, maps.detach().numpy()[0]) < 1e-4
    # A voxel whose activation is zero but for rounding may open or close: then all of its gradient differs.
    difference = np.abs(evidence.gradient - gradient.numpy()[0]) > 1e-4 * np.abs(gradient.numpy()).max()
    assert difference.mean() < 1e-4


def test_evidence_has_the_shapes_of_the_network(evidence):
    assert isinstance(evidence.logit, float)
    assert evidence.features.shape == (64,)
    assert evidence.maps.shape == evidence.gradient.shape == (152, 6, 15, 23)
    assert evidence.features.dtype == evidence.maps.dtype == evidence.gradient.dtype == np.float32


def test_evidence_on_torch_is_that_of_openvino(diagnosis, image, evidence):
    other = engine.open_diagnosis(diagnosis, "torch-cpu")(image)
    assert other.logit == pytest.approx(evidence.logit, abs=1e-4)
    assert distance(other.features, evidence.features) < 1e-4
    assert distance(other.maps, evidence.maps) < 1e-4
    assert np.linalg.norm(other.gradient - evidence.gradient) < 1e-2 * np.linalg.norm(evidence.gradient)


@pytest.mark.parametrize("device", ["cpu", "torch-cpu"])
def test_lung_probability_in_f32_is_that_of_the_plain_network(lungs, device):
    slices = smooth_slices(2)
    with torch.inference_mode():
        expected = torch.sigmoid(load_network(lungs)(torch.from_numpy(slices)))[:, 0].numpy()
    found = engine.open_lungs(lungs, device, precision="f32")(slices)
    assert found.shape == (2, 256, 256)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-4


@pytest.mark.parametrize("device", ["cpu", "torch-cpu"])
def test_masks_in_bf16_overlap_those_in_f32(lungs, device):
    slices = smooth_slices(2)
    quick = engine.open_lungs(lungs, device, precision="bf16")
    if quick.describe()["precision"] != "bf16":
        pytest.skip("this processor has no bf16")
    one, other = quick(slices) >= 0.5, engine.open_lungs(lungs, device, precision="f32")(slices) >= 0.5
    assert 0.1 < other.mean() < 0.9  # the masks are neither empty nor full
    assert 2 * (one & other).sum() / (one.sum() + other.sum()) > 0.98


@pytest.mark.gpu
def test_the_gpu_gives_the_evidence_of_the_cpu(image):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    weights = registry.bundled_files()["diagnosis"]
    one, other = (engine.open_diagnosis(weights, device)(image) for device in ("torch-cpu", "cuda"))
    assert other.logit == pytest.approx(one.logit, abs=1e-4)
    assert distance(other.features, one.features) < 1e-4
    assert distance(other.maps, one.maps) < 1e-4


@pytest.mark.gpu
def test_threads_that_share_a_gpu_get_the_numbers_of_one(image):
    """TF32 is a setting of the whole process: no thread may bring it back while another computes."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    files = registry.bundled_files()
    network, lungs = (
        engine.open_diagnosis(files["diagnosis"], "cuda"),
        engine.open_lungs(files["lungs"], "cuda"),
    )
    slices, alone = smooth_slices(8), network(image)
    with ThreadPoolExecutor(8) as pool:
        masks = [pool.submit(lungs, slices) for _ in range(20)]
        found = list(pool.map(network, [image] * 20))
        assert all(np.array_equal(mask.result(), masks[0].result()) for mask in masks)
    assert all(np.array_equal(one.maps, alone.maps) and one.logit == alone.logit for one in found)


# ---- streams -----------------------------------------------------------------------------------------------


def test_slices_come_back_in_order_and_bit_equal_to_one_at_a_time(lungs):
    network, slices = engine.open_lungs(lungs, "cpu"), random_slices(7)
    alone = [network(one[None])[0] for one in slices]
    assert len({plane.tobytes() for plane in alone}) == 7
    assert np.array_equal(network(slices), alone)
    assert np.array_equal(list(network.stream(iter(slices))), alone)


def test_a_batch_that_is_not_full_is_finished_on_torch(lungs):
    slices = random_slices(9)  # eight are run together
    found = engine.open_lungs(lungs, "torch-cpu", precision="f32")(slices)
    last = engine.open_lungs(lungs, "cpu", precision="f32")(slices[8:])
    assert found.shape == (9, 256, 256)
    assert np.abs(found[8:] - last).max() < 1e-4


def test_few_slices_are_in_memory_at_a_time(lungs):
    taken = []

    def source():
        for plane in np.repeat(random_slices(1), 40, axis=0):
            taken.append(1)
            yield plane

    stream = engine.open_lungs(lungs, "cpu", streams=2, threads=2).stream(source())
    next(stream)
    assert len(taken) <= 4
    stream.close()  # an abandoned stream leaves nothing running


def test_threads_share_a_network_while_others_let_go_of_its_memory(diagnosis, image):
    network = engine.open_diagnosis(diagnosis, "cpu")
    alone = network(image)
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(network, [image] * 5))  # begun and ended at different times
    assert all(np.array_equal(one.maps, alone.maps) and one.logit == alone.logit for one in found)


def test_progress_counts_slices(lungs):
    seen = []
    engine.open_lungs(lungs, "cpu")(random_slices(3), lambda done, count: seen.append((done, count)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_no_slices_give_no_planes(lungs):
    assert engine.open_lungs(lungs, "cpu")(random_slices(0)).shape == (0, 256, 256)


def test_threads_and_streams_are_told(lungs, diagnosis):
    told = engine.describe(
        engine.open_lungs(lungs, "cpu", precision="f32", threads=1, streams=1),
        engine.open_diagnosis(diagnosis, "torch-cpu"),
    )
    assert told["lungs"]["threads"] == told["lungs"]["streams"] == 1
    assert (told["lungs"]["engine"], told["lungs"]["precision"]) == ("openvino", "f32")
    assert (told["diagnosis"]["engine"], told["diagnosis"]["device"]) == ("torch", "torch-cpu")


# ---- without torch, without the network, always the same ---------------------------------------------------

ALONE = """
import sys, hashlib, socket
import numpy as np
from pathlib import Path
def refuse(*_): raise OSError("an attempt to use the network")
socket.socket.connect = socket.getaddrinfo = refuse
from covid19net import engine
from covid19net.weights import WeightFile, read_card
folder = Path(sys.argv[1])
def weights(task): return WeightFile(folder / f"{task}.safetensors", read_card(folder / f"{task}.json"))
lungs = engine.open_lungs(weights("lungs"), "cpu")
diagnosis = engine.open_diagnosis(weights("diagnosis"), "cpu")
evidence = diagnosis(np.random.default_rng(3).standard_normal((48, 240, 360), dtype=np.float32))
found = lungs(np.random.default_rng(2).standard_normal((2, 3, 256, 256), dtype=np.float32))
for array in (found, np.float64(evidence.logit), evidence.features, evidence.maps, evidence.gradient):
    print(hashlib.sha256(array.tobytes()).hexdigest())
loaded = {"torch", "openvino_telemetry", "openvino.tools.ovc"} & set(sys.modules)
sys.exit(str(loaded) if loaded else 0)
"""


def test_a_new_process_gives_the_same_bits_without_torch_telemetry_or_a_file_in_the_home(
    folder, lungs, diagnosis, image, tmp_path
):
    done = run_python(ALONE, folder, env={"HOME": str(tmp_path), "PATH": ""})
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
    network = engine.open_diagnosis(diagnosis, "cpu")
    again = network(image), network(image)
    planes = engine.open_lungs(lungs, "cpu")(random_slices(2))
    for evidence in again:
        arrays = (planes, np.float64(evidence.logit), evidence.features, evidence.maps, evidence.gradient)
        assert [hashlib.sha256(array.tobytes()).hexdigest() for array in arrays] == done.stdout.split()


def test_converting_reports_to_nobody(folder, tmp_path):
    for name in ("lungs.json", "lungs.safetensors"):
        shutil.copy(folder / name, tmp_path / name)
    home = tmp_path / "home"
    home.mkdir()
    code = ALONE.split("folder =")[0] + (
        "place = Path(sys.argv[1])\n"
        "weights = WeightFile(place / 'lungs.safetensors', read_card(place / 'lungs.json'))\n"
        "assert engine.convert(weights).index.parent == place\n"
        "sys.exit(str(sorted({'openvino_telemetry', 'openvino.tools.ovc'} & set(sys.modules)) or '') or 0)"
    )
    done = run_python(code, tmp_path, env={"HOME": str(home), "PATH": ""})
    assert done.returncode == 0, done.stderr
    assert list(home.iterdir()) == []


# ---- the converted form ------------------------------------------------------------------------------------


@pytest.fixture
def copied(folder, tmp_path):
    """A copy of the lung weights and their converted form."""
    for path in folder.glob("lungs*"):
        shutil.copy(path, tmp_path / path.name)
    return weights_in(tmp_path, "lungs")


def converted_file(weights, ending):
    (path,) = weights.path.parent.glob(f"lungs.{weights.card.sha256[:12]}.ov*{ending}")
    return path


@pytest.fixture
def no_torch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)


def test_half_precision_weights_stay_in_half_precision(copied):
    numbers = sum(array.size for array in tensors_of(load_network(copied)).values())
    assert converted_file(copied, ".bin").stat().st_size < 2.2 * numbers  # two bytes each


def test_a_reference_in_full_precision_leaves_its_network_in_half_precision(diagnosis, tmp_path):
    reference = {
        "reference.mean": np.zeros(64, np.float32),
        "reference.covariance": np.eye(64, dtype=np.float32),
    }
    halves = {name: array.astype(np.float16) for name, array in tensors_of(load_network(diagnosis)).items()}
    weights = write_weights(
        tmp_path, "diagnosis", halves | reference, options={"distance_limit": 1.0}, **CARD
    )
    size = sum(len(part.numbers) for part in engine.convert(weights).parts.values())
    plain = sum(len(part.numbers) for part in engine.find_converted(diagnosis).parts.values())
    assert size < 0.6 * plain  # two bytes a number instead of four


@pytest.mark.usefixtures("no_torch")
def test_a_converted_set_is_used_as_it_is(copied):
    assert engine.find_converted(copied).index == converted_file(copied, ".json")
    assert engine.open_lungs(copied, "cpu")(random_slices(1)).shape == (1, 256, 256)


@pytest.mark.parametrize("ending", [".json", ".xml", ".bin"])
def test_a_damaged_conversion_is_not_used(copied, ending):
    path = converted_file(copied, ending)
    path.write_bytes(path.read_bytes()[:-100])
    assert engine.find_converted(copied) is None
    path.unlink()
    assert engine.find_converted(copied) is None


def test_a_damaged_conversion_is_made_anew(copied):
    path = converted_file(copied, ".bin")
    whole = path.read_bytes()
    path.write_bytes(b"")
    engine.open_lungs(copied, "cpu")
    assert path.read_bytes() == whole


def test_a_conversion_that_ships_is_compared_with_the_table_not_with_the_index_beside_it(copied, monkeypatch):
    monkeypatch.setattr(registry, "BUNDLED_FOLDER", copied.path.parent)
    files = [converted_file(copied, ".xml"), converted_file(copied, ".bin")]
    monkeypatch.setattr(registry, "BUNDLED_SHA256", {p.name: sha256_of(p) for p in files})
    assert engine.find_converted(copied) is not None
    files[1].write_bytes(files[1].read_bytes()[:-1] + b"x")
    converted_file(copied, ".json").write_text(json.dumps({p.name: sha256_of(p) for p in files}))
    with pytest.raises(WeightsError, match="Install the package again"):
        engine.find_converted(copied)


@pytest.mark.usefixtures("no_torch")
def test_a_set_not_yet_converted_names_the_extra_it_needs(copied):
    converted_file(copied, ".bin").unlink()
    with pytest.raises(WeightsError, match=r"lungs\.safetensors: .*covid19net\[torch\]"):
        engine.open_lungs(copied, "cpu")


def test_a_folder_that_cannot_be_written_leaves_the_conversion_to_the_cache(copied, tmp_path):
    index, cache = converted_file(copied, ".json"), tmp_path / "cache"
    index.unlink()
    index.mkdir()  # a folder of that name keeps everyone, even root, from writing the file
    assert engine.convert(copied).index is None  # in memory only
    assert engine.convert(copied, cache).index == cache / index.name
    assert engine.find_converted(copied) is None
    assert engine.find_converted(copied, cache).index == cache / index.name


def test_a_damaged_weight_file_is_refused_although_its_conversion_is_whole(copied):
    copied.path.write_bytes(copied.path.read_bytes()[:1000])
    with pytest.raises(WeightsError, match=copied.card.sha256):
        engine.open_lungs(copied, "cpu")


# ---- faults told in one line -------------------------------------------------------------------------------


def test_an_unknown_device_is_refused_with_those_there_are():
    with pytest.raises(InputError, match=r"tpu.*choose auto, cpu, cuda, mps, torch-cpu"):
        engine.choose_device("tpu")


def test_an_absent_gpu_is_refused_with_what_is_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError, match=r"'cuda' is not there.*there are: cpu, torch-cpu"):
        engine.choose_device("cuda")
    assert engine.choose_device("auto") == "cpu"


@pytest.mark.parametrize(("cuda", "mps", "chosen"), [(True, True, "cuda"), (False, True, "mps")])
def test_a_gpu_is_chosen_where_there_is_one(monkeypatch, cuda, mps, chosen):
    monkeypatch.setattr("covid19net.engine.device._DRIVERS", (__file__,))  # something that exists
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    monkeypatch.setattr("covid19net.engine.device._mps_pools", lambda: True)
    assert engine.choose_device("auto") == chosen


def test_a_gpu_without_the_pooling_the_network_needs_is_not_chosen(monkeypatch):
    """As Apple's was in torch before 2.9; on this machine asking it fails as well."""
    monkeypatch.setattr("covid19net.engine.device._DRIVERS", (__file__,))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)

    def lacking(*_, **__):
        raise NotImplementedError("max_pool3d is not implemented for MPS")

    monkeypatch.setattr(torch.nn.functional, "max_pool3d", lacking)
    assert engine.choose_device("auto") == "cpu"


@pytest.mark.usefixtures("no_torch")
def test_without_torch_the_cpu_is_chosen_and_a_gpu_names_the_extra():
    assert engine.choose_device("auto") == engine.choose_device("cpu") == "cpu"
    with pytest.raises(InputError, match=r"'cuda' needs torch.*covid19net\[torch\]"):
        engine.choose_device("cuda")


@pytest.mark.parametrize("shape", [(3, 256, 255), (1, 256, 256), (256, 256)])
def test_slices_of_another_shape_are_refused(lungs, shape):
    with pytest.raises(InputError, match="shape"):
        list(engine.open_lungs(lungs, "cpu").stream([np.zeros(shape, np.float32)]))


def test_an_image_of_another_shape_is_refused(diagnosis):
    with pytest.raises(InputError, match=r"\(48, 240, 360\), got \(48, 240, 240\)"):
        engine.open_diagnosis(diagnosis, "cpu")(np.zeros((48, 240, 240), np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_numbers_are_refused(diagnosis, image, value):
    broken = image.copy()
    broken[7, 8, 9] = value
    with pytest.raises(InputError, match="not numbers"):
        engine.open_diagnosis(diagnosis, "cpu")(broken)


def test_weights_of_the_other_task_are_refused(lungs, diagnosis):
    with pytest.raises(InputError, match="cannot find lungs"):
        engine.open_lungs(diagnosis)
    with pytest.raises(InputError, match="cannot score"):
        engine.open_diagnosis(lungs)


def test_a_lack_of_memory_in_torch_is_told():
    with pytest.raises(ResourceError, match="not enough memory for a test"), memory_told("a test"):
        torch.empty(10**16)


def test_a_lack_of_memory_in_numpy_is_told():
    with pytest.raises(ResourceError, match="not enough memory for a test"), memory_told("a test"):
        np.empty(10**16)


NARROW = """
import resource, sys
from pathlib import Path
from covid19net import engine, errors
from covid19net.weights import WeightFile, read_card
folder = Path(sys.argv[1])
weights = WeightFile(folder / "diagnosis.safetensors", read_card(folder / "diagnosis.json"))
engine.open_diagnosis(weights, "cpu").describe()  # everything is loaded now
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + (100 << 20)  # the network needs about 400 MB more
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    engine.open_diagnosis(weights, "cpu").describe()
except errors.ResourceError as error:
    print(error)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_a_lack_of_memory_in_openvino_is_told(folder):
    done = run_python(NARROW, folder)
    assert done.returncode == 0, done.stderr
    assert "not enough memory for preparing a network" in done.stdout


def test_other_faults_pass():
    with pytest.raises(RuntimeError, match="wrong size"), memory_told("a test"):
        raise RuntimeError("wrong size")


def test_importing_the_engine_is_light():
    code = "import sys, covid19net.engine; sys.exit(str({'torch', 'openvino'} & set(sys.modules) or '') or 0)"
    done = run_python(code, cwd=Path(engine.__file__).parents[2])
    assert done.returncode == 0, done.stderr
