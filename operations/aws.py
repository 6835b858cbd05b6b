"""AWS clients for the operators' commands, and their errors as one sentence."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError

from settings import REGION

CONFIG = Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 5})


def client(service: str, *, region: str = REGION, config: Config = CONFIG) -> Any:
    """Return a boto3 client. Raises BotoCoreError."""
    return boto3.client(service, region_name=region, config=config)


def sentence(error: Exception) -> str:
    """Return the error's message on one line."""
    if isinstance(error, NoCredentialsError):
        return "no AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def errors_as_sentences() -> Iterator[None]:
    """Exit with status 1 and one sentence if AWS can't be reached or rejects a request."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        sys.exit(sentence(error))
