"""AWS clients for the operators' commands, and their errors as one sentence."""

import os
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    NoCredentialsError,
)

from settings import REGION

CONFIG = Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 5})


def client(service: str, *, region: str = REGION, config: Config = CONFIG) -> Any:
    """Return a boto3 client. Raises BotoCoreError."""
    return boto3.client(service, region_name=region, config=config)


def listed(client: Any, operation: str, field: str, **request: Any) -> Iterator[dict[str, Any]]:
    """Yield what an operation lists in this field, from all of its pages.

    Raises botocore's errors, and KeyError if a page lacks the field, as a response that is not
    AWS's does.
    """
    for page in client.get_paginator(operation).paginate(**request):
        yield from page[field]


MESSAGE_LENGTH = 500
"""Characters of an error's message. A proxy's response may be a whole page."""


def sentence(error: Exception) -> str:
    """Return what went wrong on one line.

    An error that is not botocore's own comes from a response that is not AWS's: the sign-in page of
    a network, for example, in which the expected fields are missing.
    """
    if isinstance(error, NoCredentialsError):
        return "no AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    text = textwrap.shorten(str(error), MESSAGE_LENGTH, placeholder=" …") or type(error).__name__
    if isinstance(error, ConnectionError | HTTPClientError):
        return f"AWS can't be reached: {text}"
    if isinstance(error, BotoCoreError | ClientError):
        return text
    return f"unexpected response instead of AWS's: {type(error).__name__}: {text}"


def is_about_credentials(error: Exception) -> bool:
    """Return whether AWS rejects the credentials, or botocore can't get any."""
    if isinstance(error, ClientError):
        # AWS's error codes are names. If a response has no code, botocore uses its status instead.
        response = error.response
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 403)
        return status < 500 and not response["Error"].get("Code", "").isdecimal()
    return isinstance(error, BotoCoreError) and not isinstance(
        error, ConnectionError | HTTPClientError
    )


@contextmanager
def errors_as_sentences() -> Iterator[None]:
    """Exit with status 1 and one sentence if AWS rejects a request, or something else responds.

    Exit with status 1 and no text if nobody reads the output any more, as with `make orders | head`.
    Other errors of the operating system are raised as they are. A read that times out is botocore's
    own error, although its class is a subclass of OSError, too.
    """
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes the output once more when it ends, and would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:  # a response that is not AWS's can fail anywhere
        if isinstance(error, OSError) and not isinstance(error, BotoCoreError):
            raise
        sys.exit(sentence(error))
