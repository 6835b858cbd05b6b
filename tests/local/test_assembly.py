"""local/assembly.py: new code of functions in an assembly that was synthesized before."""

import io
import json
import zipfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from local.assembly import PackagedFunction, packaged_functions, repackage

BUCKET = "cdk-assets-${AWS::AccountId}"
SALES, MIGRATE = "a" * 64, "b" * 64
VERSION = "MigrateCurrentVersion" + "0" * 32


def function(asset: str, handler: str) -> dict[str, Any]:
    return {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "FunctionName": f"shop-{handler}",
            "Handler": f"{handler}.handler.handler",
            "Code": {"S3Bucket": {"Fn::Sub": BUCKET}, "S3Key": f"{asset}.zip"},
        },
    }


def described(path: str, *, key: str, packaging: str) -> dict[str, Any]:
    return {
        "source": {"path": path, "packaging": packaging},
        "destinations": {"here": {"bucketName": BUCKET, "objectKey": key}},
    }


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "lambdas"
    for name in ("common/store.py", "sales/handler.py", "migrate/handler.py"):
        path = source / name
        path.parent.mkdir(parents=True)
        path.write_text("old")
    return source


@pytest.fixture
def assembly(tmp_path: Path) -> Path:
    """Return an assembly of two functions with a common module. One has a version."""
    assembly = tmp_path / "cdk.out"
    for asset, folder in ((SALES, "sales"), (MIGRATE, "migrate")):
        for name in ("common/store.py", f"{folder}/handler.py"):
            path = assembly / f"asset.{asset}" / name
            path.parent.mkdir(parents=True)
            path.write_text("old")
    template = json.dumps(
        {
            "Resources": {
                "Sales": function(SALES, "sales"),
                "Migrate": function(MIGRATE, "migrate"),
                VERSION: {
                    "Type": "AWS::Lambda::Version",
                    "Properties": {"FunctionName": {"Ref": "Migrate"}},
                },
                "Trigger": {"Type": "Custom::Trigger", "Properties": {"Arn": {"Ref": VERSION}}},
                "Table": {"Type": "AWS::DynamoDB::Table"},
            }
        }
    )
    hash = sha256(template.encode()).hexdigest()
    files = {
        asset: described(f"asset.{asset}", key=f"{asset}.zip", packaging="zip")
        for asset in (SALES, MIGRATE)
    }
    files[hash] = described("shop.template.json", key=f"{hash}.json", packaging="file")
    (assembly / "shop.template.json").write_text(template)
    (assembly / "shop.assets.json").write_text(json.dumps({"files": files}))
    (assembly / "manifest.json").write_text(json.dumps({"template": f"s3://bucket/{hash}.json"}))
    return assembly


def functions(assembly: Path) -> dict[str, PackagedFunction]:
    return {function.name: function for function in packaged_functions(assembly)}


def resources(assembly: Path) -> dict[str, Any]:
    template = json.loads((assembly / "shop.template.json").read_text())
    return dict(template["Resources"])


def test_functions_of_the_template_are_found(assembly: Path) -> None:
    assert functions(assembly) == {
        "sales": PackagedFunction(
            name="sales",
            physical_name="shop-sales",
            stack="shop",
            code=assembly / f"asset.{SALES}",
            versions=(),
        ),
        "migrate": PackagedFunction(
            name="migrate",
            physical_name="shop-migrate",
            stack="shop",
            code=assembly / f"asset.{MIGRATE}",
            versions=(VERSION,),
        ),
    }


def test_new_code_gets_a_new_hash_everywhere(assembly: Path, source: Path) -> None:
    (source / "sales/handler.py").write_text("new")
    (update,) = repackage(assembly, [functions(assembly)["sales"]], source=source)
    sales = functions(assembly)["sales"]
    assert sales.asset != SALES
    assert (sales.code / "sales/handler.py").read_text() == "new"
    assert not (assembly / f"asset.{SALES}").exists()
    assert functions(assembly)["migrate"].asset == MIGRATE
    assert VERSION in resources(assembly)
    (code,) = update.code
    assert (code.bucket, code.key) == (BUCKET, f"{sales.asset}.zip")
    with zipfile.ZipFile(io.BytesIO(code.body)) as archive:
        assert archive.read("sales/handler.py") == b"new"
        assert archive.read("common/store.py") == b"old"


def test_changed_template_gets_a_new_hash_everywhere(assembly: Path, source: Path) -> None:
    """The CDK does not upload a template again under a name that is in the bucket."""
    (source / "sales/handler.py").write_text("new")
    (update,) = repackage(assembly, [functions(assembly)["sales"]], source=source)
    template = (assembly / "shop.template.json").read_bytes()
    hash = sha256(template).hexdigest()
    assert update.stack == "shop"
    assert update.template.body == template
    assert update.template.key == f"{hash}.json"
    assert hash in json.loads((assembly / "shop.assets.json").read_text())["files"]
    assert hash in (assembly / "manifest.json").read_text()


def test_version_of_new_code_is_a_new_resource(assembly: Path, source: Path) -> None:
    (source / "migrate/handler.py").write_text("new")
    repackage(assembly, [functions(assembly)["migrate"]], source=source)
    migrate = functions(assembly)["migrate"]
    (version,) = migrate.versions
    assert version != VERSION
    assert version.startswith("MigrateCurrentVersion")
    assert len(version) == len(VERSION)
    assert VERSION not in resources(assembly)
    assert resources(assembly)["Trigger"]["Properties"]["Arn"] == {"Ref": version}


def test_common_module_is_replaced_in_each_function(assembly: Path, source: Path) -> None:
    (source / "common/store.py").write_text("new")
    (update,) = repackage(assembly, list(functions(assembly).values()), source=source)
    assert len(update.code) == 2
    for name, function in functions(assembly).items():
        assert (function.code / "common/store.py").read_text() == "new", name


def test_same_code_gets_the_same_hash_again(assembly: Path, source: Path) -> None:
    """A change that is taken back is deployed, too."""
    hashes = []
    for content in ("new", "old", "new"):
        (source / "sales/handler.py").write_text(content)
        repackage(assembly, [functions(assembly)["sales"]], source=source)
        hashes.append(functions(assembly)["sales"].asset)
    assert hashes[0] == hashes[2] != hashes[1]


def test_unchanged_code_updates_nothing(assembly: Path, source: Path) -> None:
    (source / "sales/handler.py").write_text("new")
    assert repackage(assembly, [functions(assembly)["sales"]], source=source)
    before = {path: path.read_bytes() for path in assembly.rglob("*") if path.is_file()}
    assert repackage(assembly, [functions(assembly)["sales"]], source=source) == []
    after = {path: path.read_bytes() for path in assembly.rglob("*") if path.is_file()}
    assert after == before


def test_code_that_an_earlier_synthesis_left_is_replaced(assembly: Path, source: Path) -> None:
    (source / "sales/handler.py").write_text("new")
    repackage(assembly, [functions(assembly)["sales"]], source=source)
    left = functions(assembly)["sales"].code
    (source / "sales/handler.py").write_text("old")
    repackage(assembly, [functions(assembly)["sales"]], source=source)
    (left / "removed").mkdir(parents=True)
    (source / "sales/handler.py").write_text("new")
    repackage(assembly, [functions(assembly)["sales"]], source=source)
    assert functions(assembly)["sales"].code == left
    assert not (left / "removed").exists()
