"""The stand-ins in tests/support/fakes.py have the signatures of what they stand in for."""

import inspect
from collections.abc import Iterator
from types import ModuleType

import pytest
from requests.adapters import HTTPAdapter

from common import messages
from common.store import Store
from tests.support import fakes

ORIGINALS: dict[type, type | ModuleType] = {
    fakes.FakeSalesStore: Store,
    fakes.FakeRestockStore: Store,
    fakes.FakeRelayStore: Store,
    fakes.FakeTopic: messages,
    fakes.FakeFactory: HTTPAdapter,
}
BUILTINS = {fakes.FakeClock}
"""Stand-ins for functions of C, which have no signature."""
OWN_METHODS = {"order_ids", "install"}


def public_methods(fake: type) -> Iterator[str]:
    for name, value in vars(fake).items():
        if inspect.isfunction(value) and not name.startswith("_") and name not in OWN_METHODS:
            yield name


def parameters(function: object, *, annotated: bool) -> list[tuple[object, ...]]:
    """Return the name, the kind, the default and, if annotated, the annotation of each."""
    assert callable(function)
    return [
        (parameter.name, parameter.kind, parameter.default, annotated and parameter.annotation)
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name != "self"
    ]


def test_every_fake_is_compared() -> None:
    defined = {value for name, value in vars(fakes).items() if name.startswith("Fake")}
    assert defined == {*ORIGINALS, *BUILTINS}, "add the new fake to ORIGINALS"


@pytest.mark.parametrize("fake", ORIGINALS, ids=lambda fake: fake.__name__)
def test_fake_has_the_signatures_of_its_original(fake: type) -> None:
    original = ORIGINALS[fake]
    names = list(public_methods(fake))
    assert names
    for name in names:
        theirs = getattr(original, name, None)
        assert theirs, f"{fake.__name__}.{name}: the original has no such method"
        ours = vars(fake)[name]
        annotated = original in (Store, messages)
        assert parameters(ours, annotated=annotated) == parameters(theirs, annotated=annotated), (
            f"{fake.__name__}.{name}: its parameters differ from the original's"
        )
        if annotated:
            assert (
                inspect.signature(ours).return_annotation
                == inspect.signature(theirs).return_annotation
            ), f"{fake.__name__}.{name}: it returns another type than the original"
