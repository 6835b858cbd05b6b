"""The functions' AWS clients."""

import functools
from typing import Any

from common import deadline


@functools.cache
def client(service: str, timeouts: deadline.ClientTimeouts) -> Any:
    """Return the boto3 client of a service, created on first use.

    boto3 is imported here and not at the top, because the import adds about 0.3 s to a cold start,
    and most requests need no client.
    """
    import boto3
    from botocore.config import Config

    config = Config(
        connect_timeout=timeouts.connect,
        read_timeout=timeouts.read,
        retries={"total_max_attempts": timeouts.attempts},
    )
    return boto3.client(service, config=config)
