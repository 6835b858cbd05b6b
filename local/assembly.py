"""Update the code of functions in a synthesized assembly, without synthesizing the app again.

Synthesis only copies this code: an asset is a directory that is named for a hash of its content,
and templates name the hash. So the content is replaced, and the old hash by a new one wherever it
is mentioned. A published version of a function gets a new logical id, as the CDK gives it one: only
a new resource publishes the new code.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from local.files import delete_tree, write_whole, zipped

VERSION_HASH = 32
"""How many characters of a version's logical id are a hash: the last ones."""


@dataclass(frozen=True, kw_only=True)
class PackagedFunction:
    """A function of the assembly, and its code."""

    name: str
    """The folder of its handler."""
    physical_name: str
    stack: str
    code: Path
    """The directory of its code, which is named for a hash."""
    versions: tuple[str, ...]
    """The logical ids of its published versions."""

    @property
    def asset(self) -> str:
        return self.code.name.removeprefix("asset.")


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A file for the CDK's bucket, whose name contains `${AWS::AccountId}`."""

    bucket: str
    key: str
    body: bytes


@dataclass(frozen=True, kw_only=True)
class StackUpdate:
    """A stack whose functions have new code."""

    stack: str
    code: Sequence[Upload]
    template: Upload


def packaged_functions(assembly: Path) -> Iterator[PackagedFunction]:
    """Yield the functions of all stacks, the CDK's own included."""
    for template in sorted(assembly.glob("*.template.json")):
        resources = json.loads(template.read_text())["Resources"]
        versions = {
            id: resource["Properties"]["FunctionName"]["Ref"]
            for id, resource in resources.items()
            if resource["Type"] == "AWS::Lambda::Version"
        }
        for id, resource in resources.items():
            properties = resource.get("Properties", {})
            if resource["Type"] == "AWS::Lambda::Function" and "S3Key" in properties["Code"]:
                yield PackagedFunction(
                    name=properties["Handler"].partition(".")[0],
                    physical_name=properties.get("FunctionName", id),
                    stack=template.name.removesuffix(".template.json"),
                    code=assembly / f"asset.{properties['Code']['S3Key'].removesuffix('.zip')}",
                    versions=tuple(name for name, function in versions.items() if function == id),
                )


def repackage(
    assembly: Path, functions: Sequence[PackagedFunction], *, source: Path
) -> list[StackUpdate]:
    """Replace each file of the functions' code by the same file of `source`.

    Return what has to be deployed.
    """
    renamed: dict[str, str] = {}
    stacks = set[str]()
    for function in functions:
        files = sorted(path for path in function.code.rglob("*") if path.is_file())
        names = [path.relative_to(function.code) for path in files]
        contents = [(source / name).read_bytes() for name in names]
        hash = _hash(zip(map(str, names), contents, strict=True))
        if hash == function.asset:
            continue
        code = function.code.with_name(f"asset.{hash}")
        delete_tree(code)
        function.code.rename(code)
        for name, content in zip(names, contents, strict=True):
            write_whole(code / name, content)
        renamed[function.asset] = hash
        for version in function.versions:
            renamed[version] = version[:-VERSION_HASH] + hash[:VERSION_HASH]
        stacks.add(function.stack)
    _rename(assembly, renamed)
    _rename(assembly, dict(_template_hash(assembly, stack) for stack in stacks))
    return [_stack_update(assembly, stack, assets=renamed.values()) for stack in sorted(stacks)]


def _hash(files: Iterator[tuple[str, bytes]]) -> str:
    parts = (sha256(part).digest() for name, content in files for part in (name.encode(), content))
    return sha256(b"".join(parts)).hexdigest()


def _rename(assembly: Path, names: Mapping[str, str]) -> None:
    """Replace names in all files of the assembly that describe it."""
    for path in assembly.glob("*.json"):
        old = new = path.read_text()
        for name, replacement in names.items():
            new = new.replace(name, replacement)
        if new != old:
            write_whole(path, new)


def _template_hash(assembly: Path, stack: str) -> tuple[str, str]:
    """Return the hash by which the assembly knows the stack's template, and the template's own."""
    name = f"{stack}.template.json"
    known = next(
        hash for hash, asset in _assets(assembly, stack).items() if asset["source"]["path"] == name
    )
    return known, sha256((assembly / name).read_bytes()).hexdigest()


def _stack_update(assembly: Path, stack: str, *, assets: Collection[str]) -> StackUpdate:
    described = _assets(assembly, stack)
    template, _ = _template_hash(assembly, stack)
    return StackUpdate(
        stack=stack,
        code=[_upload(assembly, described[hash]) for hash in assets if hash in described],
        template=_upload(assembly, described[template]),
    )


def _upload(assembly: Path, asset: Mapping[str, Any]) -> Upload:
    path = assembly / asset["source"]["path"]
    destination = next(iter(asset["destinations"].values()))
    return Upload(
        bucket=destination["bucketName"],
        key=destination["objectKey"],
        body=zipped(path) if asset["source"]["packaging"] == "zip" else path.read_bytes(),
    )


def _assets(assembly: Path, stack: str) -> dict[str, Any]:
    """Return the stack's assets by their hashes."""
    files: dict[str, Any] = json.loads((assembly / f"{stack}.assets.json").read_text())["files"]
    return files
