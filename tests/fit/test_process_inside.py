"""How exceptions leave a process: with their type, and what they carry."""

from __future__ import annotations

import pytest
import torch

from hrnfit.fit.batch_terms import Terms, UnfinishedError
from hrnfit.fit.out_of_memory import OutOfMemoryError
from hrnfit.fit.parcels import opened, packed, packed_whole
from hrnfit.fit.process_inside import Failed, Fitted, _sendable, _terms, failure
from hrnfit.licences import LicenceError
from tests.fit.process_cases import Odd, finish
from tests.fit.small_scene import face
from tests.fit.test_batch import THREE, single


def raised(error: Exception, cause: BaseException | None = None) -> Failed:
    """The exception as it arrives."""
    try:
        raise error from cause
    except Exception as caught:
        return opened(packed(failure(caught, face()), face()), face())


@pytest.mark.parametrize(
    "error",
    [
        LicenceError("not permitted"),
        FileNotFoundError(2, "none", "a.png"),
        torch.OutOfMemoryError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_type_and_words_survive(error):
    found = raised(error)
    assert type(found.error) is type(error)
    assert str(found.error) == str(error)
    assert "in raised" in found.trace


def test_what_an_error_carries_survives():
    short = raised(OutOfMemoryError("no room", single(THREE[1])), ValueError("why"))
    assert isinstance(short.error, OutOfMemoryError)
    assert short.error.partial is not None
    assert short.error.partial.model is face()
    assert isinstance(short.cause, ValueError)
    unfinished = raised(UnfinishedError("disk", single(THREE[1]))).error
    assert isinstance(unfinished, UnfinishedError)
    assert unfinished.result is not None


def test_a_cause_that_cannot_be_sent_stays_behind():
    found = raised(ValueError("wrong"), Odd("no", "way"))
    assert type(found.error) is ValueError
    assert found.cause is None
    assert "Odd: no way" in found.trace


def test_an_error_that_cannot_be_sent_is_told():
    found = raised(Odd("no", "way")).error
    assert isinstance(found, UnfinishedError)
    assert str(found).startswith("Odd: no way (a Odd that cannot be sent from its process: ")


def test_an_answer_that_cannot_be_sent_is_told():
    answer = opened(_sendable(Fitted(lambda: None), face()), face())
    assert isinstance(answer.error, UnfinishedError)
    assert "what `finish` returned cannot be sent" in str(answer.error)


def test_terms_that_a_process_cannot_open_say_where_things_must_stand():
    content = packed_whole(Terms("cpu", finish=finish)).replace(b"process_cases", b"process_casez")
    with pytest.raises(TypeError, match="must stand in a module that it can import"):
        _terms(content, None)
