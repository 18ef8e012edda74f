"""Download and import of a published set, against an HTTP server on this machine."""

import contextlib
from dataclasses import replace
import hashlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import json
from pathlib import Path
import re
import socket
import sys
import threading

from keras_oracle.hdf5 import write_keras
from keras_oracle.seeded import arrays, layout
import pytest
import torch

from covid19net.errors import InputError, ResourceError, WeightsError
from covid19net.nets.densenet_fpn import DenseNetFPN
from covid19net.weights import find_set, install_wang2020, load_network, load_tensors
from covid19net.weights.keras_names import densenet_fpn_layers, keras_arrays, keras_shape
from covid19net.weights.networks import tensor_shapes
from covid19net.weights.registry import WANG2020

NARROW = {"pyramid": 4, "segmentation": 4}


class Server:
    """Serves bytes by path, in whole or from a byte on, and can misbehave.

    Attributes:
        files: path -> content.
        asked: (path, Range header or None) of every request, in order.
        cut: path -> number of bytes after which the connection is closed, once.
        ranges: False answers every request with the whole file, as servers without resume do.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.cut: dict[str, int] = {}
        self.ranges = True
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                wanted = self.headers.get("Range")
                outer.asked.append((self.path, wanted))
                content = outer.files.get(self.path)
                if content is None:
                    self.send_error(404)
                    return
                start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and outer.ranges else 0
                if start and start >= len(content):
                    self.send_error(416)
                    return
                self.send_response(206 if start else 200)
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                stop = outer.cut.pop(self.path, len(content))
                with contextlib.suppress(ConnectionError):  # the client may have had enough
                    self.wfile.write(content[start:stop])
                if stop < len(content):
                    self.close_connection = True

            def log_message(self, *_):
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/media"
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """Task -> Keras file, in the forms of the published ones; the lung network has a narrow decoder."""
    folder = tmp_path_factory.mktemp("originals")
    shapes = tensor_shapes(DenseNetFPN(**NARROW))
    names = keras_arrays(shapes, densenet_fpn_layers())
    write_keras(folder / "lungs", arrays({k: keras_shape(shapes[v]) for k, v in names.items()}), whole=True)
    values = arrays(layout("covid19net"))
    write_keras(folder / "diagnosis", values, whole=False)
    write_keras(
        folder / "egfr", values | {"EGFR_global_pred/bias": values["EGFR_global_pred/bias"] + 1}, whole=False
    )
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def put_online(server, originals):
    """Serve the originals; returns the published set with their sizes and SHA-256."""
    files = []
    for file in WANG2020.files:
        content = originals[file.task]
        server.files[f"/media/{file.path}"] = content
        files.append(replace(file, sha256=hashlib.sha256(content).hexdigest(), size=len(content)))
    return replace(WANG2020, base_url=server.url, files=tuple(files))


@pytest.fixture
def published(server, originals):
    return put_online(server, originals)


@pytest.fixture(scope="module")
def installed(originals, tmp_path_factory):
    """Home, the set that was installed there, and what was published."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("no_proxy", "*")
        server = Server()
        published = put_online(server, originals)
        found = install(published, home)
        server.close()
    return home, found, published


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")


def path_of(published, task):
    return next(f"/media/{file.path}" for file in published.files if file.task == task)


def install(published, home, **options):
    return install_wang2020(home, accept_unlicensed=True, published=published, **options)


def test_the_set_is_installed_and_found(installed):
    home, found, _ = installed
    assert find_set("wang2020", home) == found
    assert [path.name for path in home.iterdir()] == ["wang2020"]
    assert found.egfr is not None
    names = {path.name for path in (home / "wang2020").iterdir()}
    assert names == {f"{t}.{s}" for t in ("lungs", "diagnosis", "egfr") for s in ("safetensors", "json")}


def test_the_tensors_are_those_of_the_originals(installed):
    _, found, _ = installed
    expected = arrays(layout("covid19net"))["EGFR_global_pred/bias"]
    assert load_tensors(found.diagnosis)["head.predict.bias"] == expected
    assert load_tensors(found.egfr)["head.predict.bias"] == expected + 1
    with torch.inference_mode():
        assert load_network(found.lungs)(torch.zeros(1, 3, 32, 32)).shape == (1, 1, 32, 32)


def test_the_card_carries_licence_origin_and_original(installed):
    home, _, published = installed
    card = json.loads((home / "wang2020" / "diagnosis.json").read_text())
    assert (card["format"], card["name"], card["licence"]) == (1, "wang2020", "none stated")
    assert "github.com/wangshuocas/COVID-19 at e3feba4" in card["origin"]
    assert card["converted_from"]["sha256"] == published.files[1].sha256
    assert card["converted_from"]["file"] == "myDenseNetv2_COVID-19.h5"
    assert card["metrics"] == {"published AUC": {"training": 0.9, "validation 1": 0.87, "validation 2": 0.88}}
    assert not card["demonstration"]


def test_without_acceptance_nothing_is_asked_for(server, published, tmp_path):
    with pytest.raises(InputError, match="states no licence") as caught:
        install_wang2020(tmp_path / "home", published=published)
    assert caught.value.exit_code == 2
    assert server.asked == []
    assert not (tmp_path / "home").exists()


def test_progress_reaches_the_size_of_every_file(published, tmp_path):
    last = {}
    install(published, tmp_path, progress=lambda name, have, size: last.update({name: (have, size)}))
    assert last == {Path(file.path).name: (file.size, file.size) for file in published.files}


def test_an_installed_set_is_not_fetched_again(server, published, tmp_path):
    first = install(published, tmp_path)
    server.asked.clear()
    assert install(published, tmp_path) == first
    assert server.asked == []


@pytest.mark.parametrize("damage", ["flip", "remove", "card"])
def test_a_damaged_set_is_replaced(published, tmp_path, damage):
    first = install(published, tmp_path)
    path = first.egfr.path
    if damage == "flip":
        path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    elif damage == "remove":
        path.unlink()
    else:
        path.with_suffix(".json").write_text("{")
    again = install(published, tmp_path)
    assert again == first
    load_tensors(again.egfr)


def test_a_mirror_can_be_named(server, published, tmp_path):
    there = replace(published, base_url="http://127.0.0.1:9/nothing-here")
    install(there, tmp_path, base_url=f"{server.url}/")
    assert [path for path, _ in server.asked] == [f"/media/{file.path}" for file in published.files]


@pytest.mark.parametrize("url", ["file:///etc", "ftp://127.0.0.1/x", "media", "://"])
def test_only_web_addresses_are_opened(published, tmp_path, url):
    with pytest.raises(InputError, match="must begin with https"):
        install(published, tmp_path, base_url=url)


# Interrupted and resumed


def test_a_cut_download_is_resumed_where_it_stopped(server, published, tmp_path):
    path = path_of(published, "diagnosis")
    server.cut[path] = 1_000_000
    size = published.files[1].size
    with pytest.raises(WeightsError, match=f"stopped at 1000000 of {size} bytes; run again") as caught:
        install(published, tmp_path)
    assert caught.value.exit_code == 4
    assert not (tmp_path / "wang2020").exists()
    server.asked.clear()
    load_tensors(install(published, tmp_path).diagnosis)
    # The lung network was complete, so only the rest of this file and the third one are asked for.
    assert server.asked == [(path, "bytes=1000000-"), (path_of(published, "egfr"), None)]


def test_a_server_without_resume_starts_over(server, published, tmp_path):
    path = path_of(published, "diagnosis")
    server.cut[path] = 1_000_000
    with pytest.raises(WeightsError, match="stopped"):
        install(published, tmp_path)
    server.ranges = False
    load_tensors(install(published, tmp_path).diagnosis)


def test_a_part_that_is_too_long_is_not_trusted(published, tmp_path):
    folder = tmp_path / ".wang2020.download"
    folder.mkdir()
    (folder / "myDenseNetv2_COVID-19.h5.part").write_bytes(bytes(published.files[1].size + 1))
    load_tensors(install(published, tmp_path).diagnosis)


def test_a_range_the_server_does_not_have_starts_over(server, published, originals, tmp_path):
    # The server's file is shorter than expected, and than the part that is here, so it answers 416.
    folder = tmp_path / ".wang2020.download"
    folder.mkdir()
    (folder / "lungSegmentation.hdf5.part").write_bytes(bytes(published.files[0].size - 1))
    path = path_of(published, "lungs")
    server.files[path] = originals["lungs"][:5000]
    with pytest.raises(WeightsError, match="stopped at 5000 of"):
        install(published, tmp_path)
    assert [wanted for _, wanted in server.asked] == [f"bytes={published.files[0].size - 1}-", None]


def test_a_wrong_part_is_thrown_away_after_the_check(published, tmp_path):
    folder = tmp_path / ".wang2020.download"
    folder.mkdir()
    (folder / "lungSegmentation.hdf5.part").write_bytes(bytes(1000))
    with pytest.raises(WeightsError, match="what came is damaged; expected SHA-256"):
        install(published, tmp_path)
    load_tensors(install(published, tmp_path).lungs)


# What comes is not the file


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<!DOCTYPE html><title>Sign in</title>", "is a web page"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:f6b9\nsize 119991728\n",
            "is a Git-LFS pointer",
        ),
        (b"\x80\x04K\x01.", "is a pickle"),
    ],
)
def test_another_kind_of_content_is_named_at_once(server, published, tmp_path, content, reason):
    path = path_of(published, "lungs")
    server.files[path] = content
    with pytest.raises(WeightsError, match=reason) as caught:
        install(published, tmp_path)
    message = str(caught.value)
    assert message.startswith(f"{server.url}/ERSCOVIDTest/model/lungSegmentation.hdf5: ")
    assert published.files[0].sha256 in message
    assert "\n" not in message
    assert caught.value.exit_code == 4
    assert not list(tmp_path.glob("**/*.part"))


def test_a_web_page_does_not_spoil_what_was_fetched(server, published, tmp_path):
    path = path_of(published, "diagnosis")
    server.cut[path] = 1_000_000
    with pytest.raises(WeightsError, match="stopped"):
        install(published, tmp_path)
    content, server.files[path], server.ranges = server.files[path], b"<html>busy</html>", False
    with pytest.raises(WeightsError, match="is a web page"):
        install(published, tmp_path)
    server.files[path], server.ranges = content, True
    server.asked.clear()
    install(published, tmp_path)
    assert server.asked[0] == (path, "bytes=1000000-")


def test_one_flipped_bit_is_refused(server, published, tmp_path):
    path = path_of(published, "egfr")
    content = bytearray(server.files[path])
    content[-1] ^= 1
    server.files[path] = bytes(content)
    with pytest.raises(WeightsError, match=f"damaged; expected SHA-256 {published.files[2].sha256}"):
        install(published, tmp_path)
    assert not (tmp_path / "wang2020").exists()


def test_endless_content_is_not_stored(server, published, tmp_path):
    path = path_of(published, "diagnosis")
    server.files[path] = server.files[path] + bytes(20_000_000)
    most = {}
    with pytest.raises(WeightsError, match="damaged"):
        install(published, tmp_path, progress=lambda name, have, _size: most.update({name: have}))
    assert most["myDenseNetv2_COVID-19.h5"] < published.files[1].size + 1_000_000


def test_the_right_bytes_of_another_network_are_refused(server, published, originals, tmp_path):
    # As if the registry itself named the wrong file: the import checks names and shapes.
    file = published.files[0]
    content = originals["diagnosis"]
    server.files[path_of(published, "lungs")] = content
    wrong = replace(file, sha256=hashlib.sha256(content).hexdigest(), size=len(content))
    with pytest.raises(WeightsError, match="does not do the task 'lungs'"):
        install(replace(published, files=(wrong, *published.files[1:])), tmp_path)
    assert not (tmp_path / "wang2020").exists()


def test_a_missing_file_on_the_server_is_named(server, published, tmp_path):
    del server.files[path_of(published, "diagnosis")]
    with pytest.raises(WeightsError, match=r"COVID-19\.h5: the server answers 404 Not Found"):
        install(published, tmp_path)


def test_no_connection_is_said_in_one_line(published, tmp_path):
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(WeightsError, match=r"cannot be reached: .*refused") as caught:
            install(published, tmp_path, base_url=url)
    assert "\n" not in str(caught.value)


def test_a_name_that_does_not_resolve_is_said_in_one_line(published, tmp_path):
    with pytest.raises(WeightsError, match="cannot be reached"):
        install(published, tmp_path, base_url="http://weights.invalid")


def test_a_home_that_cannot_be_written_is_named(published, tmp_path):
    (tmp_path / "home").write_text("a file stands here")
    with pytest.raises(WeightsError, match="cannot write"):
        install(published, tmp_path / "home")


def test_a_full_disk_is_a_matter_of_resources(published, monkeypatch, tmp_path):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("covid19net.weights.install._receive", full)
    with pytest.raises(ResourceError, match="No space left"):
        install(published, tmp_path)


def test_h5py_is_asked_for_before_anything_is_fetched(server, published, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(WeightsError, match=r"covid19net\[keras\]"):
        install(published, tmp_path)
    assert server.asked == []
