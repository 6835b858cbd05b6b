"""The documents agree with the code, the settings and the templates."""

import ast
import json
import math
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest
import yaml

from bench import report, scale
from bench.parts import hot_product
from common import deadline, limits, messages
from migrate import catalogue
from migrate.handler import MIGRATION_SECONDS
from operate.reads import ROWS
from operations.preflight import FREE_PLAN_BACKUP_DAYS, UNRESERVED
from operations.smoke import METRIC_WITHIN
from settings import ENVIRONMENTS, LAMBDAS, MAX_CONNECTIONS, PROJECT, ManagedDatabase, Settings
from stacks.data_stack import ENGINE
from stacks.function import RUNTIME
from stacks.messaging_stack import MAX_RECEIVES
from tests.support.assembly import Assembly
from tests.support.documentation import (
    anchor,
    blocks,
    make_targets,
    makefile_targets,
    sections,
    works_in,
)
from tests.touch_lists import __main__ as forget
from tests.touch_lists.edits import Kind, Mistake, Step
from tests.touch_lists.kinds import KINDS

ARCHITECTURE = (PROJECT / "docs" / "architecture.md").read_text()
CONTRACT = (PROJECT / "docs" / "contract.md").read_text()
MARKDOWN = sorted(
    path.relative_to(PROJECT)
    for folder in (PROJECT, PROJECT / "docs")
    for path in folder.glob("*.md")
)
SCHEMAS = yaml.safe_load((PROJECT / "docs" / "openapi.yaml").read_text())["components"]["schemas"]
KOREAN = re.compile(r"[가-힣]")


def literals(source: Path) -> Iterator[str]:
    """Yield the constant parts of the strings in a file.

    Those of "{name}는 {n}자 이하" are "는 " and "자 이하".
    """
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from re.split(r"\{\w+\}", node.value)


MESSAGES = sorted(
    {
        literal.strip("\n")
        for source in LAMBDAS.rglob("*.py")
        for literal in literals(source)
        if KOREAN.search(literal)
    }
)


def test_korean_messages_are_found() -> None:
    assert {"상품 없음", "자 이하여야 합니다", "데이터베이스 연결 오류"} <= set(MESSAGES)


@pytest.mark.parametrize("message", MESSAGES)
def test_contract_has_every_korean_message(message: str) -> None:
    assert message.replace("\n", r"\n") in CONTRACT, "add the message to docs/contract.md"


def test_contract_has_no_other_korean_messages() -> None:
    """A message is what stands in backquotes, or in the JSON there."""
    documented = set(re.findall(r'(?:`|"message": ")([^`"]*[가-힣][^`"]*)', CONTRACT))
    assert len(documented) > 10
    for message in documented:
        parts = [part for part in MESSAGES if part.replace("\n", r"\n") in message]
        assert parts, f"no function returns {message!r}"


def test_contract_has_every_route(assembly: Assembly) -> None:
    routes = {
        route["Properties"]["RouteKey"]
        for route in assembly.resources("AWS::ApiGatewayV2::Route").values()
    }
    documented = set(re.findall(r"^\| `([A-Z]+ /[^?`]*)", CONTRACT, re.MULTILINE))
    assert documented == routes - {"$default"}, (
        "write a line per route of stacks/service_stack.py into docs/contract.md"
    )


def test_contract_has_every_message_attribute() -> None:
    (section,) = re.findall(r"^## Messages\n(.*?)^## ", CONTRACT, re.MULTILINE | re.DOTALL)
    documented = re.findall(r"^\| `(MessageAttribute\w+)` \|", section, re.MULTILINE)
    assert sorted(documented) == sorted(messages.ATTRIBUTES.values())


SECTIONS = {
    "Product": "GET /product/{slug}",
    "Order": "GET /order/{order_id}",
    "Sold": "POST /checkout",
    "OutOfStock": "POST /checkout",
    "Checkout": "POST /checkout",
}
"""The section of the contract that describes a schema."""


@pytest.mark.parametrize("schema", SECTIONS)
def test_contract_has_every_field_of_the_api(schema: str) -> None:
    route = SECTIONS[schema]
    _, _, rest = CONTRACT.partition(f"\n### `{route}`\n")
    section, *_ = re.split(r"^##", rest, maxsplit=1, flags=re.MULTILINE)
    for name in SCHEMAS[schema]["properties"]:
        assert re.search(rf'[`"]{name}[`"]', section), (
            f"add {name} to docs/contract.md, to the section of {route}"
        )


@pytest.mark.parametrize(
    "sentence",
    [
        f"A slug has at most {limits.SLUG} ASCII",
        f"in UTF-8 of at most {limits.BODY_BYTES // 1024} KiB",
        f"a string of at most {limits.QUANTITY_DIGITS} ASCII digits",
        f"The product's id, at most {limits.PRODUCT_ID} characters",
        f"the stock is too low, at most {limits.TEXT} characters",
        f"Who buys, at most {limits.TEXT} characters",
        f"`requester는 {limits.TEXT}자 이하여야 합니다`",
        f"`요청 본문이 {limits.BODY_BYTES // 1024} KiB를 넘습니다`",
        f"has 1 to {limits.IDEMPOTENCY_KEY} printable ASCII characters",
        f"`Idempotency-Key는 1자 이상 {limits.IDEMPOTENCY_KEY}자 이하의",
        f"1 이상 {ENVIRONMENTS['prod'].max_quantity} 이하의",
    ],
)
def test_contract_has_the_limits(sentence: str) -> None:
    assert sentence in words(CONTRACT)


def test_contract_names_settings_that_exist() -> None:
    named = {"max_quantity", "overdue_after", "max_reminders", "factory_deadline", "factory_url"}
    assert named <= {field.name for field in fields(Settings)}
    for name in named:
        assert re.search(rf"[`{{]{name}[`}}]", CONTRACT), name


HISTORY = {Path("docs/decisions.md"), Path("CHANGELOG.md")}
"""These may name files that no longer exist."""
PATHS = re.compile(r"`((?:[\w.-]+/)*[\w.-]+\.(?:py|sql|md|json|toml|yaml|txt|yml)|(?:[\w.-]+/)+)`")


@pytest.mark.parametrize("document", [path for path in MARKDOWN if path not in HISTORY], ids=str)
def test_documents_name_files_that_exist(document: Path) -> None:
    """What `make` writes does not exist in a fresh copy, nor does the example `refund`."""
    written = {".local/", ".venv/", "cdk.out/", "node_modules/", "cdk.outputs.json"}
    text = (PROJECT / document).read_text()
    for path in set(PATHS.findall(text)) - written:
        if "refund" in path:
            continue
        assert (PROJECT / path).exists(), f"{document} names {path}"


@pytest.mark.parametrize("document", [path for path in MARKDOWN if path not in HISTORY], ids=str)
def test_documents_name_commands_that_exist(document: Path) -> None:
    text = (PROJECT / document).read_text()
    assert make_targets(text) <= makefile_targets()
    for path, test in re.findall(r"pytest (tests/[\w/.]+)(?:::(\w+))?", text):
        assert (PROJECT / path).exists(), path
        if test:
            assert f"def {test}(" in (PROJECT / path).read_text(), f"{document} names {test}"


LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([\w-]+))?\)")


@pytest.mark.parametrize("document", MARKDOWN, ids=str)
def test_links_have_an_existing_target(document: Path) -> None:
    text = (PROJECT / document).read_text()
    for path, name in LINK.findall(text):
        target = (PROJECT / document).parent / path if path else PROJECT / document
        assert target.exists(), f"{document} links to {path}"
        if name:
            assert name in anchors(target.read_text()), f"{document} links to {path}#{name}"


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives a document's headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {anchor(heading) for heading in headings}


@pytest.mark.parametrize(
    ("path", "names"),
    re.findall(r"`([\w./]+\.py)`: ((?:`\w+`(?:, )?)+)", ARCHITECTURE),
    ids=lambda value: value,
)
def test_decisions_are_made_where_the_table_says(path: str, names: str) -> None:
    tree = ast.walk(ast.parse((PROJECT / path).read_text()))
    defined = {
        ast.unparse(node.target) if isinstance(node, ast.AnnAssign) else node.name
        for node in tree
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AnnAssign)
    }
    for name in re.findall(r"\w+", names):
        assert name in defined, f"docs/architecture.md: {path} does not define {name}"


def test_diagram_has_the_states_of_the_api() -> None:
    (diagram,) = re.findall(r"stateDiagram-v2\n(.*?)```", ARCHITECTURE, re.DOTALL)
    states = {*re.findall(r"(\w+) -->", diagram), *re.findall(r"--> (\w+)", diagram)}
    assert states == set(SCHEMAS["Order"]["properties"]["status"]["enum"])


def test_architecture_names_every_function(assembly: Assembly) -> None:
    listed = re.findall(r"^\| `(\w+)` \| ", ARCHITECTURE, re.MULTILINE)
    assert set(listed) == assembly.functions().keys(), (
        "docs/architecture.md has a line per function in its first table"
    )


def test_architecture_says_what_makes_a_deployment_migrate() -> None:
    """The migration runs again if one of the folders in its function's asset changes."""
    source = (PROJECT / "stacks" / "function.py").read_text()
    (patterns,) = re.findall(r'exclude=\["/\*", (.*?), \*NOT_SOURCES\]', source)
    assert patterns == 'f"!/{folder}", "!/common"', "docs/architecture.md names these folders"
    assert "each deployment that changes its folder or `lambdas/common/`" in ARCHITECTURE


SECURITY = (PROJECT / "SECURITY.md").read_text()


@pytest.mark.parametrize("prefix", ["StockQueue", "StockDlq"])
def test_security_says_how_long_messages_are_kept(assembly: Assembly, prefix: str) -> None:
    _, queue = assembly.one("AWS::SQS::Queue", prefix)
    name = queue["QueueName"].removesuffix(f"_{assembly.name}")
    days = queue["MessageRetentionPeriod"] // (24 * 3600)
    assert re.search(rf"`{name}` \| {days} days at most", SECURITY), f"{name}: {days} days"


def test_security_says_how_long_an_outcome_is_kept() -> None:
    relay = (LAMBDAS / "relay/handler.py").read_text()
    (minutes,) = re.findall(r"^OUTCOME_RETENTION = (\d+) \* 60$", relay, re.MULTILINE)
    assert f"`checkout_outcome` | {minutes} minutes |" in SECURITY


def test_documents_say_how_long_a_name_is_kept() -> None:
    """The contract promises the same time in every environment."""
    for name, settings in ENVIRONMENTS.items():
        days = f"{settings.requester_retention / (24 * 3600):.0f} days"
        assert f"`requester_retention`, a setting, {days}" in SECURITY, name
        assert f"blanked in the database {days} after a purchase" in words(CONTRACT), name


def tables_with_a_requester(statements: list[str]) -> set[str]:
    """Return the tables that the statements create with a requester, or add one to."""
    changed = [
        re.search(
            r"^(?:CREATE|ALTER) TABLE\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+)?`?(\w+)`?\s(.*)",
            statement,
            re.DOTALL | re.MULTILINE,
        )
        for statement in statements
    ]
    return {found[1] for found in changed if found and "requester" in found[2]}


def test_requester_of_a_created_or_altered_table_is_found() -> None:
    assert tables_with_a_requester(
        [
            "CREATE TABLE IF NOT EXISTS refund (\n    requester TEXT\n) ENGINE = InnoDB",
            "-- whose it is\nALTER TABLE gift ADD COLUMN IF NOT EXISTS requester TEXT",
            "ALTER TABLE\n    IF EXISTS `bagel`\n    ADD id INT,\n    ADD requester_name TEXT",
            "ALTER TABLE factory ADD COLUMN city TEXT",
        ]
    ) == {"refund", "gift", "bagel"}


def test_security_names_every_table_with_a_requester() -> None:
    migrations = LAMBDAS / "migrate" / "migrations"
    tables = tables_with_a_requester([path.read_text() for path in migrations.glob("*.sql")])
    assert tables
    for table in tables:
        assert re.search(rf"requester.*`{table}`", SECURITY), f"add {table} to SECURITY.md"


def test_dependabot_watches_every_folder_with_requirements() -> None:
    config = yaml.safe_load((PROJECT / ".github" / "dependabot.yml").read_text())
    watched = {update["package-ecosystem"]: update for update in config["updates"]}
    assert watched.keys() == {"pip", "npm", "github-actions"}
    folders = {
        "/" + path.parent.relative_to(PROJECT).as_posix().strip(".")
        for pattern in ("*.in", "lambdas/*.in", "local/*/*.in", "tests/*/*.in", "bench/*/*.in")
        for path in PROJECT.glob(pattern)
    }
    assert set(watched["pip"]["directories"]) == folders
    locks = ("package-lock.json", "bench/*/*/package-lock.json", "tests/*/package-lock.json")
    assert set(watched["npm"]["directories"]) == {
        "/" + path.parent.relative_to(PROJECT).as_posix().strip(".")
        for pattern in locks
        for path in PROJECT.glob(pattern)
    }


def test_hooks_before_a_commit_are_make_commands() -> None:
    config = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text())
    (repository,) = config["repos"]
    assert repository["repo"] == "local", "hooks of other repositories would be downloaded"
    for hook in repository["hooks"]:
        make, target = hook["entry"].split()
        assert make == "make", hook["entry"]
        assert target in makefile_targets(), hook["entry"]


README = (PROJECT / "README.md").read_text()
CONTRIBUTING = (PROJECT / "CONTRIBUTING.md").read_text()
DEPLOYMENT = (PROJECT / "docs" / "deployment.md").read_text()
NUMBERS = {4: "four", 5: "five", 6: "six"}
RUNBOOK = (PROJECT / "docs" / "runbook.md").read_text()


def words(text: str) -> str:
    """Return the text on one line."""
    return " ".join(text.split())


def test_product_of_the_readme_can_be_added_to_the_catalogue(tmp_path: Path) -> None:
    (entry,) = blocks(README, "toml")
    file = tmp_path / "catalogue.toml"
    file.write_text(catalogue.FILE.read_text() + entry)
    try:
        declared = catalogue.load(file)
    except catalogue.CatalogueInvalid as error:
        pytest.fail(f"the entry in README.md: {error}")
    assert [product.slug for product in declared.products] == ["donut", "bagel"]


def test_readme_has_every_field_of_a_product() -> None:
    """tests/e2e/commands/test_readme.py compares the values."""
    product = json.loads(re.findall(r"^{.*}$", README, re.MULTILINE)[0])
    for name in SCHEMAS["Product"]["properties"]:
        assert name in product, f"README.md: add {name} to the JSON of the product at its beginning"


def test_deployment_has_the_limits_of_dev() -> None:
    dev = ENVIRONMENTS["dev"]
    assert isinstance(dev.database, ManagedDatabase)
    assert f"AWS's Free plan: {dev.database.backup_days} day of backups," in words(DEPLOYMENT)
    assert f"limited to {dev.throttle.rate} requests per second" in words(DEPLOYMENT)
    assert f"(with bursts of {dev.throttle.burst})" in words(DEPLOYMENT)
    assert f"its {MAX_CONNECTIONS[dev.database.instance_class]} database" in words(DEPLOYMENT)


def test_deployment_has_the_concurrency_of_prod() -> None:
    reserved = sum(ENVIRONMENTS["prod"].reserved_concurrency.values())
    for sentence in (
        f"AWS keeps {UNRESERVED} concurrent Lambda executions of an account from being reserved",
        f"An account therefore needs {UNRESERVED + reserved} for `prod`",
    ):
        assert sentence in words(DEPLOYMENT), f"docs/deployment.md must say: {sentence}"


DATABASE_VERSION = ENGINE.engine_version.major_version if ENGINE.engine_version else None
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())
OLDEST_PYTHON = PYPROJECT["tool"]["mypy"]["python_version"]
NEWEST_PYTHON = RUNTIME.name.removeprefix("python")


@pytest.mark.parametrize(
    ("document", "sentence", "value"),
    [
        ("README.md", "MariaDB {}, the version RDS runs", DATABASE_VERSION),
        ("docs/architecture.md", "MariaDB {}, which is what RDS runs", DATABASE_VERSION),
        ("docs/deployment.md", "can use a MariaDB {} server", DATABASE_VERSION),
        ("settings.py", "A MariaDB {} server", DATABASE_VERSION),
        ("README.md", "needs Python {} or newer", OLDEST_PYTHON),
        ("CONTRIBUTING.md", "Python {} or newer is enough", OLDEST_PYTHON),
        ("Makefile", "Python {} or newer is needed", OLDEST_PYTHON),
        ("Makefile", "sys.version_info < ({})", OLDEST_PYTHON.replace(".", ", ")),
        ("pyproject.toml", 'target-version = "py{}"', OLDEST_PYTHON.replace(".", "")),
        ("README.md", "`python{}`, which the functions run on", NEWEST_PYTHON),
        ("README.md", "unit tests also on Python {}, where", NEWEST_PYTHON),
        ("README.md", "Python {} on arm64", NEWEST_PYTHON),
        ("CONTRIBUTING.md", "on `python{}`, the functions' Python", NEWEST_PYTHON),
        ("README.md", "queue -.->|{} receives| dlq", MAX_RECEIVES),
        ("docs/architecture.md", "after {} failed receives: dead-letter queue", MAX_RECEIVES),
        ("docs/contract.md", "After {} receives the message is moved", MAX_RECEIVES),
        (
            "README.md",
            "a status from 200 to 299, within {} seconds",
            f"{ENVIRONMENTS['local'].factory_deadline:.0f}",
        ),
        ("README.md", "`slots = {0}` spreads the stock over {0} rows", hot_product.SLOTS),
        ("README.md", "Spread over {0} rows, with `slots = {0}`", hot_product.SLOTS),
        ("docs/deployment.md", "Free plan allows backups of {} day", FREE_PLAN_BACKUP_DAYS),
    ],
)
def test_documents_have_the_values_of_the_code(
    document: str, sentence: str, value: str | int
) -> None:
    expected = sentence.format(value)
    assert expected in words((PROJECT / document).read_text()), f"{document} must say: {expected}"


def test_outage_that_the_contract_names_ends_before_the_dead_letter_queue() -> None:
    (minutes,) = re.findall(r"down for (\d+) minutes does not fill", words(CONTRACT))
    delays = [ENVIRONMENTS["prod"].retry_delay * 2**count for count in range(MAX_RECEIVES - 1)]
    assert int(minutes) * 60 < sum(delays)


def test_contract_says_how_long_a_key_is_kept() -> None:
    """The settings reject less."""
    (hours,) = re.findall(r"A key is kept for (\d+) hours at least", words(CONTRACT))
    shortest = 3600 * int(hours)
    prod = ENVIRONMENTS["prod"]
    replace(prod, idempotency_retention=shortest)
    with pytest.raises(ValueError, match=f"at least {hours} hours, as the contract promises"):
        replace(prod, idempotency_retention=shortest - 1)


@pytest.mark.parametrize("sentence", ["503 is returned within {}", "obtained within the {}"])
def test_contract_has_the_time_of_a_request(sentence: str) -> None:
    longest = deadline.FIRST_ATTEMPT + deadline.SECOND_ATTEMPT + deadline.RESERVE
    assert sentence.format(f"{math.ceil(longest)} seconds") in words(CONTRACT)


@pytest.mark.parametrize("document", ["SECURITY.md", "docs/contract.md"])
def test_documents_have_the_bits_of_a_callback_token(document: str) -> None:
    sales = (PROJECT / "lambdas/sales/handler.py").read_text()
    (length,) = re.findall(r"callback_token = .*secrets\.token_urlsafe\((\d+)\)", sales)
    assert f"has {8 * int(length)} random bits" in words((PROJECT / document).read_text())


def test_runbook_has_the_time_until_the_dead_letter_queue(
    assembly_of: Callable[[str], Assembly],
) -> None:
    """The delay doubles with each receive; after the last one the message is moved."""
    _, queue = assembly_of("prod").one("AWS::SQS::Queue", "StockQueue")
    receives = queue["RedrivePolicy"]["maxReceiveCount"]
    seconds = sum(ENVIRONMENTS["prod"].retry_delay * 2**count for count in range(receives - 1))
    assert f"in {NUMBERS[receives]} attempts ({seconds // 60} minutes)" in words(RUNBOOK)
    assert f"`not placed` with `receives={receives}`" in words(RUNBOOK)


def test_runbook_holds_no_sql() -> None:
    """The database of an account has no client: operators use the function `operate`."""
    assert blocks(RUNBOOK, "sql") == []
    assert re.findall(r"\b(?:SELECT|INSERT|UPDATE|DELETE|CALL|SHOW)\b|make mysql", RUNBOOK) == []


def test_runbook_says_which_commands_are_for_this_machine() -> None:
    """On an account, nobody can start a database by hand."""
    for sentence in re.findall(r"[^.|]*`make (?:up|down)`[^.|]*", RUNBOOK):
        assert "On this machine" in sentence, sentence


@pytest.mark.parametrize("target", sorted(make_targets(RUNBOOK) - {"cost", "up", "down"}))
def test_commands_of_the_runbook_work_on_an_account(target: str) -> None:
    """`make cost` prints all environments, whatever ENV is."""
    assert works_in("prod", target), f"the Makefile rejects `ENV=prod make {target}`"


def test_runbook_names_the_function_of_the_operators() -> None:
    name = ENVIRONMENTS["prod"].function_name("operate")
    assert f"function:{name}" in RUNBOOK
    assert f"`{name.removesuffix('prod')}<env>`" in RUNBOOK
    assert f"more than {ROWS:,} rows is cut" in words(RUNBOOK)


def test_runbook_says_when_a_command_gives_up() -> None:
    hangs = math.ceil(deadline.FIRST_ATTEMPT + deadline.SECOND_ATTEMPT)
    assert f"they say so after {hangs} seconds" in words(RUNBOOK)
    assert f"gives up after {deadline.OPERATOR_READ} seconds" in words(RUNBOOK)


def test_runbook_names_the_instance_of_a_database_to_restart() -> None:
    (name,) = re.findall(r"reboot-db-instance --db-instance-identifier ([\w-]+)", RUNBOOK)
    assert name == ENVIRONMENTS["prod"].database_instance


def test_runbook_has_the_number_of_publications() -> None:
    publications = 1 + ENVIRONMENTS["prod"].max_reminders
    assert f"fewer than {publications} `publications`" in words(RUNBOOK)


def test_runbook_says_when_alarms_fire(assembly: Assembly) -> None:
    _, oldest = assembly.one("AWS::CloudWatch::Alarm", "OldestMessage")
    assert f"has been in the queue for {oldest['Threshold'] // 60} minutes" in words(RUNBOOK)
    _, silent = assembly.one("AWS::CloudWatch::Alarm", "RelaySilent")
    minutes = silent["Period"] * silent["EvaluationPeriods"] // 60
    assert f"The relay has not run for {minutes} minutes." in words(RUNBOOK)


def test_runbook_says_how_long_the_smoke_test_waits() -> None:
    assert f"It waits up to {METRIC_WITHIN / 60:.0f} minutes for the metric" in words(RUNBOOK)


def test_decisions_have_the_time_of_a_migration() -> None:
    decisions = (PROJECT / "docs" / "decisions.md").read_text()
    assert f"A migration may take {MIGRATION_SECONDS // 60} minutes;" in decisions


def test_documents_have_one_title() -> None:
    for document in MARKDOWN:
        text = re.sub(r"^ *```.*?^ *```$", "", (PROJECT / document).read_text(), flags=re.M | re.S)
        assert len(re.findall(r"^# ", text, re.MULTILINE)) == 1, document


def test_runbook_names_the_topic_of_the_alarms(assembly: Assembly) -> None:
    _, topic = assembly.one("AWS::SNS::Topic", "Ops")
    name = topic["TopicName"].removesuffix(assembly.name)
    assert f"the topic `{name}<env>`" in words(RUNBOOK)


TOUCH = dict(
    re.findall(
        r"^### (.+?)\n(.*?)(?=^### |\Z)", sections("CONTRIBUTING.md")["What to touch"], re.M | re.S
    )
)
"""The text of each kind of change in CONTRIBUTING.md, by heading."""


def numbered_lines(heading: str) -> dict[int, str]:
    """Return the steps under a heading of "What to touch", by their numbers."""
    steps = re.findall(r"^(\d+)\. (.+(?:\n   .+)*)", TOUCH[heading], re.MULTILINE)
    return {int(number): text for number, text in steps}


def is_named(name: str, text: str) -> bool:
    """Return whether the text has the command, the file or its folder in backquotes."""
    quoted = re.findall(r"`([^`]+)`", text)
    return any(name == each or (each.endswith("/") and name.startswith(each)) for each in quoted)


def test_each_list_of_what_to_touch_is_forgotten() -> None:
    assert TOUCH.keys() == {kind.heading for kind in KINDS.values()}, (
        "each heading of `What to touch` in CONTRIBUTING.md is a kind in tests/touch_lists/kinds.py"
    )


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_lists_of_what_to_touch_are_those_that_are_forgotten(kind: Kind) -> None:
    lines = numbered_lines(kind.heading)
    causes: list[Step | Mistake] = [*kind.steps, *kind.mistakes]
    for cause in causes:
        assert cause.line in lines, (
            f"tests/touch_lists/kinds.py: {cause.name}:"
            f" {kind.heading} in CONTRIBUTING.md has no such line"
        )
        for name in cause.edit.named:
            assert is_named(name, lines[cause.line]), (
                f"CONTRIBUTING.md, {kind.heading}, line {cause.line} must name {name}"
            )
    forgotten = {step.line for step in kind.steps}
    assert forgotten == lines.keys(), (
        f"tests/touch_lists/kinds.py has no step for lines {sorted(lines.keys() - forgotten)} of"
        f" {kind.heading} in CONTRIBUTING.md"
    )


def test_make_forget_names_the_kinds_when_there_is_no_such_kind(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["forget", "nonsense"])
    with pytest.raises(SystemExit):
        forget.main()
    assert capsys.readouterr().err.endswith(
        f"there is no kind 'nonsense': choose from {', '.join(KINDS)}\n"
    )


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_lists_of_what_to_touch_have_seven_lines_at_most(kind: Kind) -> None:
    steps = numbered_lines(kind.heading).values()
    written = sum(len(step.splitlines()) for step in steps)
    assert written <= 7, f"CONTRIBUTING.md: {kind.heading} has {written} lines"


def test_notes_name_every_goal_that_is_missed() -> None:
    notes = words((PROJECT / "bench/notes.md").read_text())
    parts = json.loads((PROJECT / "bench/results.json").read_text())["parts"].values()
    missed = [
        figure.name.removesuffix(", binary log on")
        for part in parts
        for figure in report.figures(part)
        if figure.met is False
    ]
    unexplained = [name for name in missed if name not in notes]
    assert not unexplained, f"say in bench/notes.md what bounds {', '.join(unexplained)}"


def test_report_of_the_benchmark_is_rendered_from_its_results() -> None:
    folder = PROJECT / "bench"
    results = json.loads((folder / "results.json").read_text())
    assert (folder / "results.md").read_text() == report.markdown(results, folder), (
        "write report.markdown() of bench/report.py into bench/results.md"
    )


def test_scale_has_the_numbers_of_the_benchmark() -> None:
    page = scale.PAGE.read_text()
    assert scale.filled(page) == page, "run `make bench`, or scale.renew() of bench/scale.py"


def test_scale_has_the_first_and_the_last_rate_in_its_title() -> None:
    first, *_, last = scale.RATES
    title = f"# From {first:,} to {last:,} checkouts per second\n"
    assert scale.PAGE.read_text().startswith(title)


def test_scale_has_numbers_in_its_tables_and_its_title_only() -> None:
    """Numbers in the tables are computed. Status codes and product names are allowed in prose."""
    tables = r"<!-- .*?<!-- end -->"
    names = r"`.*?`|\]\(.*?\)|\b(io2|gp3|429|503)\b|^\d\.|^# .*"
    prose = re.sub(names, "", re.sub(tables, "", scale.PAGE.read_text(), flags=re.S), flags=re.M)
    assert re.findall(r".*\d.*", prose) == []
