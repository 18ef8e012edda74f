"""Parts of masks by their runs, beside scipy's labelling of voxels."""

import numpy as np
import pytest
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from covid19net.runs import Runs, _connected

IN_PLANE = np.zeros((3, 3, 3), bool)
IN_PLANE[1] = ndimage.generate_binary_structure(2, 1)
STRUCTURES = {
    "corners": np.ones((3, 3, 3), bool),
    "faces": ndimage.generate_binary_structure(3, 1),
    "in plane": IN_PLANE,
}


def masks():
    rng = np.random.default_rng(5)
    noise = rng.random((7, 13, 11))
    for share in (0.05, 0.2, 0.35, 0.6, 0.95):
        yield noise < share
    yield np.ones((3, 4, 5), bool)
    yield np.zeros((3, 4, 5), bool)
    yield np.indices((4, 5, 6)).sum(0) % 2 == 0  # every voxel touches others at edges only
    yield rng.random((1, 1, 9)) < 0.5


@pytest.mark.parametrize("mask", list(masks()))
@pytest.mark.parametrize("touching", STRUCTURES)
def test_parts_are_those_of_scipy(mask, touching):
    runs = Runs.of(mask)
    count, labels = runs.parts(touching)
    expected, number = ndimage.label(mask, STRUCTURES[touching])
    found = runs.painted(labels + 1)
    assert count == number
    assert np.array_equal(found > 0, mask)
    assert len(set(zip(found[mask], expected[mask], strict=True))) == number  # one to one
    assert runs.sizes.sum() == mask.sum()


@pytest.mark.parametrize(("nodes", "edges"), [(10, 0), (100, 80), (5000, 4000), (5000, 20000)])
def test_parts_of_any_graph_are_those_of_scipy(nodes, edges):
    one, other = np.random.default_rng(nodes + edges).integers(0, nodes, (2, edges))
    graph = coo_array((np.ones(edges, np.int8), (one, other)), (nodes, nodes)).tocsr()
    count, labels = _connected(nodes, one, other)
    expected, reference = connected_components(graph, directed=False)
    assert count == expected
    assert np.array_equal(labels, reference)


def test_a_chain_in_any_order_is_one_part():
    order = np.random.default_rng(6).permutation(3000)
    assert _connected(3000, order[:-1], order[1:])[0] == 1


def test_runs_know_their_rows():
    mask = np.zeros((3, 4, 5), bool)
    mask[1, 2, 0:2] = mask[1, 2, 4] = mask[2, 0, 4] = True
    z, y = Runs.of(mask).rows
    assert (z.tolist(), y.tolist()) == ([1, 1, 2], [2, 2, 0])
    assert Runs.of(mask).sizes.tolist() == [2, 1, 1]


def test_runs_are_cut_before_their_places():
    runs = Runs.of(np.array([[[1, 1, 1, 1, 0, 1, 1]], [[0, 1, 1, 0, 0, 0, 0]]], bool))
    starts = runs.start.tolist()
    pieces, second = runs.cut(np.array([starts[0] + 1, starts[1] - 3, starts[2] + 9]))
    halves = pieces.painted(np.where(second, 2, 1))
    assert halves.tolist() == [[[1, 2, 2, 2, 0, 2, 2]], [[0, 1, 1, 0, 0, 0, 0]]]
