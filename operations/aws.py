"""AWS for the operators' commands: clients that give up in time, and errors that are one sentence."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from settings import REGION

IN_TIME = Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 5})


def client(service: str, *, region: str = REGION, config: Config = IN_TIME) -> Any:
    """Return a boto3 client. Raises botocore's BotoCoreError."""
    return boto3.client(service, region_name=region, config=config)


def sentence(error: Exception) -> str:
    """Return what the error says, on one line."""
    if isinstance(error, NoCredentialsError):
        return "no AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def errors_as_sentences() -> Iterator[None]:
    """End the command with status 1 and one sentence when AWS can't be asked, or refuses."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        sys.exit(sentence(error))
