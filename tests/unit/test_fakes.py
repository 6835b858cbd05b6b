"""The stand-ins in tests/support/fakes.py have the signatures of what they stand in for."""

import inspect
from collections.abc import Callable, Iterator
from types import ModuleType

import pytest

from common import database, messages
from common.database import Connection, Database
from common.store import Store
from tests.support import fakes

ORIGINALS: dict[type, type | ModuleType] = {
    fakes.FakeSalesStore: Store,
    fakes.FakeRestockStore: Store,
    fakes.FakeOperateStore: Store,
    fakes.FakeRelayStore: Store,
    fakes.FakeTopic: messages,
    fakes.FakeConnection: Connection,
    fakes.FakeDatabase: Database,
    fakes.FakeSecrets: database,
    fakes.FakeServer: database,
}
NOT_COMPARED = {fakes.FakeClock, fakes.FakeFactory}
"""time.monotonic has no signature. FakeFactory is a subclass, which mypy compares with its base."""


def signature(function: Callable[..., object]) -> inspect.Signature:
    """Return the signature without self, which a module's function does not have."""
    full = inspect.signature(function)
    parameters = [parameter for name, parameter in full.parameters.items() if name != "self"]
    return full.replace(parameters=parameters)


def public_methods(fake: type) -> Iterator[str]:
    for name, value in vars(fake).items():
        if inspect.isfunction(value) and not name.startswith("_"):
            yield name


def test_every_fake_is_compared() -> None:
    defined = {
        value
        for value in vars(fakes).values()
        if inspect.isclass(value) and value.__module__ == fakes.__name__
    }
    assert defined == {*ORIGINALS, *NOT_COMPARED}, "add the new fake to ORIGINALS"


@pytest.mark.parametrize("fake", ORIGINALS, ids=lambda fake: fake.__name__)
def test_fake_has_the_signatures_of_its_original(fake: type) -> None:
    original = ORIGINALS[fake]
    names = list(public_methods(fake))
    assert names
    for name in names:
        theirs = getattr(original, name, None)
        assert theirs, f"{fake.__name__}.{name}: the original has no such method"
        assert str(signature(vars(fake)[name])) == str(signature(theirs)), (
            f"{fake.__name__}.{name}: its signature differs from the original's"
        )


def test_failing_store_has_the_signatures_of_the_store() -> None:
    store = fakes.failing_store(KeyError("failed"))
    with pytest.raises(KeyError, match="failed"):
        store.mark_stuck(max_publications=1, limit=1)
    with pytest.raises(TypeError, match="limit"):
        store.mark_stuck(max_publications=1)
    with pytest.raises(AttributeError):
        store.missing()
