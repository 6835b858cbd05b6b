"""Does a deployed shop answer? Reads the product at the URL that `cdk deploy --outputs-file` wrote down."""

import argparse
import json
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

WITHIN = 60
PAUSE = 2
TIMEOUT = 10


def problem(url: str) -> str | None:
    """What is wrong with the product page; None: nothing."""
    try:
        with urllib.request.urlopen(f"{url}/product/donut", timeout=TIMEOUT) as response:
            product = json.load(response)
    except urllib.error.HTTPError as error:
        return f"it answers {error.code}"
    except (OSError, ValueError) as error:
        return str(error)
    stock = product.get("stock") if isinstance(product, dict) else None
    return None if isinstance(stock, int) and stock >= 0 else f"no stock in {product}"


def smoke(url: str, *, within: float) -> str | None:
    """The last problem when time is up; None: the shop answers."""
    deadline = time.monotonic() + within
    while (found := problem(url)) and time.monotonic() < deadline:
        time.sleep(PAUSE)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m operations.smoke", description=__doc__)
    parser.add_argument("outputs", type=Path, help="written by cdk deploy")
    parser.add_argument("environment")
    arguments = parser.parse_args()
    stack = f"donut-shop-service-{arguments.environment}"
    outputs = json.loads(arguments.outputs.read_text()) if arguments.outputs.exists() else {}
    if stack not in outputs:
        sys.exit(f"{stack} was not the last that was deployed from here: ENV={arguments.environment} make deploy")
    url = outputs[stack]["ApiUrl"].rstrip("/")
    if found := smoke(url, within=WITHIN):
        sys.exit(f"{url} does not work: {found}")
    print(f"{url} answers")


if __name__ == "__main__":
    main()
