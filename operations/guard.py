"""Check a command for an account, and stop it before it synthesizes or changes anything."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from operations import aws, terminal
from settings import ENVIRONMENTS, Settings


class Stop(Exception):
    """The reason why the command stops, in one sentence."""


def require_credentials(client: Callable[[str], Any] = aws.client) -> tuple[str, str]:
    """Ask STS for the account and the caller's ARN, and return both.

    Raises Stop if there are no valid credentials, and botocore's errors if AWS can't be asked.
    """
    try:
        identity = client("sts").get_caller_identity()
        return identity["Account"], identity["Arn"]
    except Exception as error:
        if not aws.is_about_credentials(error):
            raise
        text = aws.sentence(error)
        raise Stop(
            text
            if text.startswith("no AWS credentials")
            else f"no AWS credentials that work: {text}"
        ) from error


def require_alarm_address(settings: Settings, *, assembly: Path | None = None) -> None:
    """Raise Stop if the alarms would reach nobody.

    assembly: the directory that `cdk synth` wrote, if this is what is deployed.
    """
    if not settings.requires_alarm_email or (
        has_address(settings, assembly) if assembly else settings.alarm_email
    ):
        return
    name = settings.name
    remedy = (
        f"`make synth ENV={name} ALARM_EMAIL=...`"
        if assembly
        else "ALARM_EMAIL=... on the command line"
    )
    raise Stop(
        f"{name}'s alarms would reach nobody: give an address with {remedy},"
        " or as alarm_email in the settings"
    )


def has_address(settings: Settings, assembly: Path) -> bool:
    """Return whether the synthesized template sends the alarms by e-mail.

    Raises OSError and ValueError.
    """
    path = assembly / f"{settings.stack_name('monitoring')}.template.json"
    try:
        return any(
            resource["Properties"]["Protocol"] == "email"
            for resource in json.loads(path.read_text())["Resources"].values()
            if resource["Type"] == "AWS::SNS::Subscription"
        )
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a template that `make synth` wrote") from error


def require_confirmation(settings: Settings) -> None:
    """Ask for the environment's name at the terminal, not on standard input. Raises Stop."""
    name = settings.name
    try:
        typed = terminal.ask(f"This destroys {name}. Type its name to continue: ")
    except OSError:
        raise Stop(
            f"Nothing was destroyed: {name} is destroyed only from a terminal,"
            " where its name is typed."
        ) from None
    if typed != name:
        raise Stop("Nothing was destroyed.")


def guard(command: str, environments: list[Settings], *, assembly: Path | None) -> None:
    """Check that the command may run in these environments. Raises Stop, OSError and ValueError."""
    if assembly and not (assembly / "manifest.json").is_file():
        raise Stop(f"APP={assembly} is not a directory that `make synth` wrote")
    for settings in environments:
        if command == "deploy":
            require_alarm_address(settings, assembly=assembly)
        if command == "destroy" and settings.termination_protection:
            require_confirmation(settings)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m operations.guard", description=__doc__)
    parser.add_argument("command")
    parser.add_argument("environments", help="separated by commas")
    parser.add_argument("--alarm-email", default="")
    parser.add_argument("--app", default="", help="a directory that `cdk synth` wrote")
    arguments = parser.parse_args()
    try:
        environments = [
            ENVIRONMENTS[name].override({"alarm_email": arguments.alarm_email})
            for name in arguments.environments.split(",")
        ]
        guard(
            arguments.command, environments, assembly=Path(arguments.app) if arguments.app else None
        )
    except (Stop, OSError, ValueError) as reason:
        sys.exit(str(reason))
    with aws.errors_as_sentences():
        try:
            require_credentials()
        except Stop as reason:
            sys.exit(str(reason))


if __name__ == "__main__":
    main()
