"""Synthesis beside that of an empty app, and the sizes of what is deployed."""

import io
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from functools import partial
from pathlib import Path

from bench.figures import Figure, Findings, exactly
from bench.measure import Effort, each, interleave, ratio
from bench.programs import NODE
from settings import ENVIRONMENTS, PROJECT, Settings

LARGEST = {"layer": 600, "migrate": 60, "operate": 30}
"""kB. A larger asset fails the part, and with it `make test`."""
LARGEST_FUNCTION = 28
"""The same for the other functions."""


def run(effort: Effort) -> Findings:
    """Compare `cdk synth` of all environments with that of an empty app, and measure the assets."""
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        synthesized = partial(synth, environments=",".join(effort.environments))
        ours = partial(synthesized, f"{sys.executable} app.py", Path(directory) / "ours")
        empty = partial(
            synthesized, f"{sys.executable} bench/empty_app.py", Path(directory) / "empty"
        )
        rounds = interleave({"ours": ours, "empty": empty}, effort=effort)
        sizes = asset_sizes(Path(directory) / "ours", ENVIRONMENTS[effort.environments[-1]])
        for name, size in sizes.items():
            assert size <= LARGEST.get(name, LARGEST_FUNCTION), f"{name}: {size} kB"
    return Findings(
        figures=[
            Figure(
                name="`cdk synth` of all environments / of an empty app",
                value=ratio(rounds, "ours", "empty", float),
                at_most=2.5,
            ),
            Figure(
                name="`cdk synth` of all environments", value=each(rounds, "ours", float), unit="s"
            ),
            *(
                Figure(
                    name=f"{name}, zipped",
                    value=exactly(size),
                    unit="kB",
                    at_most=600 if name == "layer" else 25,
                )
                for name, size in sizes.items()
            ),
        ]
    )


def synth(app: str, directory: Path, *, environments: str) -> float:
    """Run the CDK's command-line program on an app, and return the seconds that it took."""
    cdk = str(PROJECT / "node_modules/aws-cdk/bin/cdk")
    command = [NODE[0], cdk, "synth", "--quiet", f"--app={app}", f"--output={directory}"]
    chosen = ["-c", f"env={environments}", "--no-notices", "--no-version-reporting"]
    variables = os.environ | {"JSII_NODE": NODE[0]}
    began = time.perf_counter()
    subprocess.run([*command, *chosen], cwd=PROJECT, env=variables, check=True)
    return time.perf_counter() - began


def asset_sizes(assembly: Path, settings: Settings) -> dict[str, float]:
    """Return the sizes of each function and of their layer as ZIP archives, in kB."""
    template = assembly / f"{settings.stack_name('service')}.template.json"
    sizes = {}
    for resource in json.loads(template.read_text())["Resources"].values():
        properties = resource["Properties"]
        if resource["Type"] == "AWS::Lambda::LayerVersion":
            sizes["layer"] = zipped(assembly, properties["Content"]["S3Key"])
        elif "FunctionName" in properties and "Code" in properties:
            name = settings.function_of(properties["FunctionName"])
            sizes[name] = zipped(assembly, properties["Code"]["S3Key"])
    return sizes


def zipped(assembly: Path, key: str) -> float:
    """Return the size of an asset's folder as the CDK zips it, in kB."""
    folder = assembly / f"asset.{key.removesuffix('.zip')}"
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(folder))
    return len(content.getvalue()) / 1000
