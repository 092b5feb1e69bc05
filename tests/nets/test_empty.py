"""Networks without numbers have the shapes of real ones, and cost nothing."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hrnfit.nets.configs import build, laid_out
from tests.nets.write_checkpoints import SMALL


@pytest.mark.parametrize("kind", list(SMALL))
def test_shapes_are_the_same(kind):
    empty, real = laid_out(SMALL[kind]), build(SMALL[kind])
    assert all(value.is_meta for value in (*empty.parameters(), *empty.buffers()))
    assert list(empty.state_dict()) == list(real.state_dict())
    for found, expected in zip(
        empty.state_dict().values(), real.state_dict().values(), strict=True
    ):
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype)


def test_torchs_compiler_stays_unloaded():
    code = (
        "import sys; from hrnfit.nets.configs import laid_out; from hrnfit.nets.hrn import RELEASED; "
        "laid_out(RELEASED); sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
