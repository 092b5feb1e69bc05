"""What a checkpoint's pickle claims: shapes and storages as they are, and what it must not claim."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict

import pytest
import torch
from torch import nn

from hrnfit.inert_pickle import Refused
from hrnfit.nets.pickled_layout import Storage, StoredTensor, read_layout
from tests.nets.mutants import members, saved
from tests.nets.mutate_pickles import Runs

FLOATS = ("storage", torch.FloatStorage, "0", "cpu", 12)


class Outside:
    """Pickled as a persistent id."""

    def __init__(self, pid):
        self.pid = pid


class Pickler(pickle.Pickler):
    def persistent_id(self, obj):
        return obj.pid if isinstance(obj, Outside) else None


def layout(content, *, legacy=False):
    """The layout of a pickle that torch's functions appear in by name."""
    buffer = io.BytesIO()
    Pickler(buffer, protocol=2).dump(content)
    return read_layout(io.BytesIO(buffer.getvalue()), legacy=legacy)


def tensor(offset=0, shape=(3, 4), strides=(4, 1), pid=FLOATS, gradient=False, hooks=None):
    hooks = OrderedDict() if hooks is None else hooks
    given = (Outside(pid), offset, shape, strides, gradient, hooks)
    return Runs(torch._utils._rebuild_tensor_v2, *given)


def test_what_torch_writes():
    wide = torch.arange(24.0).reshape(4, 6)
    content = {
        "view": wide[1:, ::2],
        "whole": wide.T,
        "number": torch.tensor(3),
        "parameter": nn.Parameter(torch.zeros(2, dtype=torch.float16)),
        "table": OrderedDict(a=[1, "b"]),
    }
    stream = io.BytesIO(members(saved(content))["archive/data.pkl"])
    found, storages = read_layout(stream, legacy=False)
    first = Storage("0", torch.float32, 24)
    assert found["view"] == StoredTensor(first, (3, 3))
    assert found["whole"] == StoredTensor(first, (6, 4))
    assert (found["number"].dtype, found["number"].shape) == (torch.int64, ())
    assert found["parameter"].dtype == torch.float16
    assert found["table"] == {"a": [1, "b"]}
    assert storages["0"].size == 96
    assert [s.count for s in storages.values()] == [24, 1, 2]


@pytest.mark.parametrize(
    "made",
    [
        tensor(),
        tensor(shape=(4, 3), strides=(1, 4)),
        tensor(offset=11, shape=(1,), strides=(99,)),
        tensor(offset=12, shape=(0, 5), strides=(5, 1)),
        tensor(shape=(), strides=()),
    ],
)
def test_views_within_their_storage(made):
    found, _ = layout(made)
    assert isinstance(found, StoredTensor)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (tensor(offset=1), r"a tensor \(3, 4\) that reaches beyond its storage"),
        (tensor(shape=(3, 5), strides=(4, 1)), "reaches beyond its storage"),
        (tensor(shape=(2**62,), strides=(2**62,)), "reaches beyond its storage"),
        (tensor(shape=(2**40,), strides=(0,)), "of a storage of 12 numbers"),
        (tensor(shape=(13,), strides=(0,)), "of a storage of 12 numbers"),
        (tensor(shape=(-3, 4)), "no whole numbers"),
        (tensor(strides=(-4, 1)), "no whole numbers"),
        (tensor(offset=2**63), "no whole numbers"),
        (tensor(shape=(3.0, 4)), "no whole numbers"),
        (tensor(shape=(True, 4)), "no whole numbers"),
        (tensor(shape=[3, 4]), "no whole numbers"),
        (tensor(shape=(3,)), "no whole numbers"),
        (tensor(shape=(1,) * 17, strides=(1,) * 17), "no whole numbers"),
        (tensor(gradient=1), "no whole numbers"),
        (tensor(hooks={"a": 1}), "a tensor with hooks"),
        (Runs(torch._utils._rebuild_tensor_v2, 3), "of something that is no storage"),
        (Runs(torch._utils._rebuild_parameter, 3, True, OrderedDict()), "that is no tensor"),
        (Runs(OrderedDict, [("a", 1)]), "it makes a dictionary of something"),
        (tensor(pid=("module", "a", "b")), "something outside of itself that is no storage"),
        (tensor(pid=(*FLOATS, None)), "something outside of itself that is no storage"),
        (tensor(pid=(*FLOATS[:4], -1)), "in a way that torch.save does not"),
        (tensor(pid=("storage", "float", "0", "cpu", 12)), "in a way that torch.save does not"),
        ([tensor(), tensor(pid=(*FLOATS[:4], 13))], "states storage '0' twice, and differently"),
        (
            Runs(torch.load, "a"),
            r"it asks for 'torch\.serialization'\.'load'; a checkpoint of weights holds",
        ),
    ],
)
def test_claims_that_are_refused(made, message):
    with pytest.raises(Refused, match=message):
        layout(made)


def test_the_old_format_states_views_apart():
    found, _ = layout(tensor(pid=(*FLOATS, None)), legacy=True)
    assert found.shape == (3, 4)
    with pytest.raises(Refused, match=r"in a way that torch\.save does not"):
        layout(tensor(pid=(*FLOATS, ("1", 0, 4))), legacy=True)
