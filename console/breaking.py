"""What can be broken in the local cloud: the part that it concerns, and the alarm that fires on AWS."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from console import view
from local.breakage import Breakage
from local.processes import LocalError

Part = Literal["factory", "topic", "queue", "consumer", "database", "callback"]


class Kind(NamedTuple):
    """What is known of a breakage before it happens."""

    part: Part
    """The part that is red meanwhile."""
    alarm: str | None
    """The alarm that fires on AWS if it lasts, by its id, which is also its runbook's heading."""


LASTING: Mapping[str, Kind] = {
    "factory_off": Kind("factory", "StockDlqNotEmpty"),
    "factory_slow": Kind("factory", "StockDlqNotEmpty"),
    "factory_fails": Kind("factory", "StockDlqNotEmpty"),
    "factory_silent": Kind("factory", "StuckOrders"),
    "factory_twice": Kind("callback", None),
    "sns": Kind("topic", "OldestUnpublishedOrder"),
    "sqs": Kind("queue", "OldestMessage"),
    "database_killed": Kind("database", "ServerErrors"),
    "database_read_only": Kind("database", "ServerErrors"),
}
"""By the names of local/breakage.py."""
ONCE: Mapping[str, Kind] = {
    "poison_message": Kind("queue", "StockDlqNotEmpty"),
    "forged_callback": Kind("callback", None),
}
"""What happens once, so that there is nothing to heal."""


def described(
    breakages: Mapping[str, Breakage], alarms: Mapping[str, view.Alarm]
) -> Sequence[view.Breakage]:
    """Return each breakage with its remaining seconds and its alarm.

    One that can't be broken now is left out: the factory's if it is not the local one. alarms: by id.
    """

    def shown(name: str, kind: Kind, *, remaining: float, lasts: bool) -> view.Breakage:
        alarm = alarms.get(kind.alarm) if kind.alarm else None
        return view.Breakage(
            name=name, part=kind.part, remaining=remaining, lasts=lasts, alarm=alarm
        )

    found = []
    for name, kind in LASTING.items():
        try:
            remaining = breakages[name].remaining()
        except (LocalError, OSError):
            continue
        found.append(shown(name, kind, remaining=round(remaining, 1), lasts=True))
    once = [shown(name, kind, remaining=0, lasts=False) for name, kind in ONCE.items()]
    return [*found, *once]
