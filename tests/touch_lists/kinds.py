"""The changes that `make forget` makes, step by step: one of each kind in CONTRIBUTING.md."""

from hashlib import sha256
from pathlib import Path

from settings import PROJECT
from tests.touch_lists.edits import (
    Edit,
    Kind,
    Mistake,
    Step,
    all_of,
    append,
    command,
    create,
    insert,
    replace,
)

DEPLOY = ".github/workflows/deploy.yml"
GROWTH = "tests/integration/test_growth.py"
PERMISSIONS = "tests/infrastructure/test_permissions.py"
REPLACEMENTS = "tests/infrastructure/test_replacements.py"
SERVICE = "tests/infrastructure/test_service_stack.py"
SUMS = "lambdas/migrate/migrations/SHA256SUMS"
NEXT = f"{1 + len(list((PROJECT / SUMS).parent.glob('*.sql'))):04}"
"""The number of the next migration file."""
SETTINGS_TESTS = "tests/unit/test_settings.py"
README_KO = "tests/infrastructure/test_readme_ko.py"
UPGRADE = "tests/integration/test_upgrade.py"
REPLACEMENTS_ACCEPTED = f"pytest {REPLACEMENTS} --accept-replacements"


def create_migration(name: str, text: str) -> Edit:
    """Return an edit that writes a migration file with the next number of that tree."""

    def edit(tree: Path) -> None:
        folder = (tree / SUMS).parent
        (folder / f"{1 + len(list(folder.glob('*.sql'))):04}_{name}.sql").write_text(text)

    return Edit((f"lambdas/migrate/migrations/{NEXT}_{name}.sql",), edit)


CHECKSUMS = command(".venv/bin/python", "-m", "operations.checksums", named="make checksums")
ACCEPTANCE = command(
    ".venv/bin/pytest", "-q", REPLACEMENTS, "--accept-replacements", named=REPLACEMENTS_ACCEPTED
)
SNAPSHOTS = command(
    ".venv/bin/pytest",
    "-q",
    "tests/infrastructure/test_snapshots.py",
    "--snapshot-update",
    named="make snapshots",
)


def checksum(sql: str) -> str:
    """Return the checksum of a migration file with this content."""
    return sha256(sql.encode()).hexdigest()


def snapshots(line: int) -> Step:
    """Return the step `make snapshots`."""
    return Step(
        line=line,
        name="the snapshots",
        edit=SNAPSHOTS,
        test="tests/infrastructure/test_snapshots.py::test_templates_equal_their_snapshot[dev]",
        says="make snapshots",
        is_last=True,
    )


REFUND_RULE = """        events.Rule(
            self,
            "RefundDaily",
            schedule=events.Schedule.rate(cdk.Duration.days(1)),
            targets=[targets.LambdaFunction(refund)],
        )
"""

FUNCTION = Kind(
    name="function",
    heading="A Lambda function",
    steps=(
        Step(
            line=1,
            name="its handler",
            edit=create(
                "lambdas/refund/handler.py",
                '''"""Pay customers back."""

from common import environment, failures
from common.store import Store

config = environment.read(environment.Refund)
store = Store(config)


@failures.guarded()
def handler(event: object, context: object) -> None:
    """Pay back what is due."""
    store.backlog()
''',
            ),
            test=f"{SERVICE}::test_each_folder_is_a_function[dev]",
            says="lambdas/refund has no handler.py",
        ),
        Step(
            line=1,
            name="its unit tests",
            edit=create("tests/unit/test_refund.py", '"""The function that pays back."""\n'),
            test="tests/infrastructure/test_architecture.py"
            "::test_each_function_has_unit_tests[lambdas/refund/handler.py]",
            says="lambdas/refund/handler.py has no tests/unit/test_refund.py",
        ),
        Step(
            line=2,
            name="its variables",
            edit=append(
                "lambdas/common/environment.py",
                "\n\n@dataclass(kw_only=True, repr=False, eq=False)\n"
                "class Refund(Database):\n    pass\n",
            ),
            test=f"{SERVICE}::test_variables_are_those_that_the_function_declares[dev-refund]",
            says="lambdas/common/environment.py lacks the class Refund",
        ),
        Step(
            line=3,
            name="the stack",
            edit=insert(
                "stacks/service_stack.py",
                '        refund = self._add_database_function("refund", variables={}, timeout=60)\n'
                + REFUND_RULE,
                before="        self.api = self._add_api()\n",
            ),
            test=f"{SERVICE}::test_each_folder_is_a_function[dev]",
            says="stacks/service_stack.py does not create the function",
        ),
        Step(
            line=4,
            name="its database user",
            edit=all_of(
                insert(
                    "lambdas/migrate/database_users.json",
                    """  "refund": {
    "user": "shop_refund",
    "grants": [
      "SELECT (requested_at, status) ON production_order"
    ]
  },
""",
                    before='  "relay": {',
                ),
                insert(
                    "tests/support/grants.py",
                    """    "shop_refund": ["SELECT (requested_at, status) ON production_order"],
""",
                    before='    "shop_relay": [',
                ),
            ),
            test=f"{SERVICE}::test_each_folder_is_a_function[dev]",
            says="add it to lambdas/migrate/database_users.json",
        ),
        Step(
            line=4,
            name="its connections",
            edit=insert(
                "settings.py",
                '        unreserved["refund"] = 1\n',
                before="        reserved = {function: 2 * count",
            ),
            test="tests/unit/test_settings.py::test_environment_is_found_by_its_own_name[dev]",
            says="_peak_concurrency does not say how many executions of refund may run at once",
        ),
        Step(
            line=5,
            name="its cost",
            edit=insert(
                "operations/cost.py",
                '    "refund": Work(seconds=1, invocations=lambda traffic: traffic.orders),\n',
                before='    "migrate": Work(',
            ),
            test="tests/operations/test_cost.py::test_every_resource_has_a_price[dev]",
            says="no traffic is assumed for refund: add it to WORK in operations/cost.py",
        ),
        Step(
            line=5,
            name="its alarms' cost in the README",
            edit=replace("README.md", "prod 119 ", "prod 120 "),
            test="tests/operations/test_cost.py::test_readme_names_the_cost_of_an_idle_month[prod]",
            says="README.md names the cost of an idle month: prod 120",
        ),
        Step(
            line=5,
            name="its alarms' cost in the Korean README",
            edit=replace("README.ko.md", "prod 119 ", "prod 120 "),
            test=f"{README_KO}::test_pieces_have_the_same_parts[numbers-Deploy it to AWS]",
            says="write 120, delete 119, as in README.md",
        ),
        Step(
            line=5,
            name="its sections in the runbook",
            edit=append(
                "docs/runbook.md",
                "\n## RefundErrors, RefundThrottles\n\n`make logs`, `make status`.\n",
            ),
            test="tests/infrastructure/test_monitoring_stack.py"
            "::test_each_alarm_has_a_section_in_the_runbook[dev]",
            says="docs/runbook.md has no section `## Refund",
        ),
        Step(
            line=5,
            name="its line in architecture.md",
            edit=insert(
                "docs/architecture.md",
                "| `refund` | EventBridge, each day | pays customers back |\n",
                before="| `migrate` | each deployment",
            ),
            test="tests/infrastructure/test_documents.py"
            "::test_architecture_names_every_function[dev]",
            says="docs/architecture.md has a line per function in its first table",
        ),
        Step(
            line=6,
            name="its permissions",
            edit=all_of(
                insert(
                    PERMISSIONS,
                    '    "refund": (write_logs("Refund") | log_in("shop_refund"), [NETWORK]),\n',
                    before='    "relay": (write_logs("Relay") | log_in(',
                ),
                insert(
                    PERMISSIONS,
                    '    "refund": (write_logs("Refund") | read("RefundSecret"), [NETWORK]),\n',
                    before='    "relay": (write_logs("Relay") | read(',
                ),
                insert(PERMISSIONS, "RefundSecret, ", before="RelaySecret, RestockSecret, Sales"),
            ),
            test=f"{PERMISSIONS}::test_each_function_has_its_own_permissions_only[dev]",
            says="WITH_IAM and WITH_SECRET in this test do not say what refund may do",
        ),
        Step(
            line=6,
            name="its login",
            edit=all_of(
                insert(
                    SERVICE,
                    '        "refund": {"DATABASE_USER": "shop_refund"},\n',
                    before='        "relay": {"DATABASE_USER": "shop_relay"},',
                ),
                insert(
                    SERVICE,
                    '        "refund": {"DATABASE_SECRET_ARN": "RefundSecret"},\n',
                    before='        "relay": {"DATABASE_SECRET_ARN": "RelaySecret"},',
                ),
                insert(SERVICE, "RefundSecret,", before='RelaySecret",\n        },'),
            ),
            test=f"{SERVICE}::test_each_function_gets_its_own_login[dev]",
            says="LOGINS in this test lists the login of every function",
        ),
        snapshots(7),
        Step(
            line=7,
            name="its secret, which must not be replaced",
            edit=ACCEPTANCE,
            test=f"{REPLACEMENTS}::test_no_resource_with_data_is_replaced[local]",
            says="--accept-replacements",
            is_last=True,
        ),
    ),
    mistakes=(
        Mistake(
            line=1,
            name="its log may hold customers' data",
            edit=replace("lambdas/refund/handler.py", "@failures.guarded()\n", ""),
            test="tests/unit/test_failures.py::test_each_handler_is_guarded[refund]",
            says="lambdas/refund/handler.py: decorate handler with @failures.guarded()",
        ),
        Mistake(
            line=3,
            name="nothing invokes it",
            edit=replace("stacks/service_stack.py", REFUND_RULE, ""),
            test=f"{SERVICE}::test_each_function_is_invoked[dev]",
            says="nothing invokes refund: add a route, a rule or an event source",
        ),
    ),
)

SETTING = Kind(
    name="setting",
    heading="A setting that a function reads",
    steps=(
        Step(
            line=1,
            name="the field",
            edit=insert(
                "settings.py",
                "    refund_days: int = 14\n",
                before="    publish_within: int = 30\n",
            ),
            test=f"{SERVICE}::test_settings_that_functions_get_exist",
            says="settings.py: Settings has no refund_days, which stacks/service_stack.py reads",
        ),
        Step(
            line=2,
            name="the rule for its values",
            edit=all_of(
                insert(
                    "settings.py",
                    """        if self.refund_days < 1:
            yield "refund_days must be at least 1"
""",
                    before="        if self.max_reminders < 0:\n",
                ),
                insert(
                    SETTINGS_TESTS,
                    '    ({"refund_days": 0}, "refund_days must be at least 1"),\n',
                    before='    ({"publish_within": 0}, ',
                ),
            ),
            test=f"{SETTINGS_TESTS}::test_every_setting_has_a_rule_or_needs_none",
            says="refund_days: add a rule to Settings._problems and a value that it rejects",
            is_last=True,
        ),
        Step(
            line=3,
            name="the stack",
            edit=insert(
                "stacks/service_stack.py",
                '"refund_days", ',
                before='"max_quantity", "publish_within"',
            ),
            test=f"{SERVICE}::test_variables_are_those_that_the_function_declares[dev-sales]",
            says="stacks/service_stack.py gives sales no value for ['REFUND_DAYS']",
        ),
        Step(
            line=4,
            name="the function's class",
            edit=insert(
                "lambdas/common/environment.py",
                "    refund_days: int\n",
                before="    max_quantity: int\n",
            ),
            test=f"{SERVICE}::test_variables_are_those_that_the_function_declares[dev-sales]",
            says="lambdas/common/environment.py does not declare ['REFUND_DAYS']",
        ),
        Step(
            line=5,
            name="the handler",
            edit=insert(
                "lambdas/sales/handler.py",
                """def refundable(days: int) -> bool:
    \"\"\"Return whether a purchase that many days ago is still paid back.\"\"\"
    return days <= config.refund_days


""",
                before="class CheckoutRequest(NamedTuple):",
            ),
            test=f"{SERVICE}::test_declared_variables_are_read[sales]",
            says="lambdas/sales does not read ['refund_days']",
        ),
        snapshots(6),
    ),
)

ALARM = Kind(
    name="alarm",
    heading="An alarm",
    steps=(
        Step(
            line=1,
            name="the stack",
            edit=insert(
                "stacks/monitoring_stack.py",
                """        self._alarm(
            "QueueTooLong",
            "More than a thousand production orders wait in the queue.",
            run="logs",
            metric=messaging.stock_queue.metric_approximate_number_of_messages_visible(
                period=MINUTE, statistic="Maximum"
            ),
            threshold=1000,
        )
""",
                before='        self._alarm(\n            "OldestMessage",',
            ),
            test="tests/infrastructure/test_monitoring_stack.py"
            "::test_each_section_of_the_runbook_is_about_an_alarm[dev]",
            says="docs/runbook.md has a section for an alarm that does not exist",
        ),
        Step(
            line=2,
            name="the runbook",
            edit=append("docs/runbook.md", "\n## QueueTooLong\n\n`make logs`.\n"),
            test="tests/infrastructure/test_monitoring_stack.py"
            "::test_each_alarm_has_a_section_in_the_runbook[dev]",
            says="docs/runbook.md has no section `## QueueTooLong`",
        ),
        snapshots(3),
    ),
    mistakes=(
        Mistake(
            line=1,
            name="no function logs the metric's line",
            edit=replace("stacks/log_metrics.py", '{"message": "placed"}', '{"message": "put"}'),
            test="tests/infrastructure/test_monitoring_stack.py"
            "::test_metrics_are_made_from_lines_that_the_functions_log[dev]",
            says="lambdas/consumer does not log 'put'",
        ),
        Mistake(
            line=1,
            name="no line has the value that the metric is made from",
            edit=replace(
                "stacks/log_metrics.py", '"outcome": "sold"', '"outcome": "unknown_product"'
            ),
            test="tests/infrastructure/test_monitoring_stack.py"
            "::test_metrics_are_made_from_lines_that_the_functions_log[dev]",
            says="no line 'checkout' has the outcome 'unknown_product'",
        ),
        Mistake(
            line=1,
            name="AWS has no such metric",
            edit=replace(
                "stacks/monitoring_stack.py",
                'service.api.metric_server_error(statistic="Sum")',
                'service.api.metric("5XXError", statistic="Sum")',
            ),
            test="tests/infrastructure/test_monitoring_stack.py"
            "::test_metrics_of_aws_that_alarms_watch_exist[dev]",
            says="watches '5XXError', which is not a metric of AWS/ApiGateway",
        ),
    ),
)

REFUND_TABLE = """CREATE TABLE IF NOT EXISTS refund (
    refund_id INT  NOT NULL PRIMARY KEY,
    requester TEXT NOT NULL
) ENGINE = InnoDB
"""

COLUMN_DROPPED = "ALTER TABLE checkout_outcome DROP COLUMN IF EXISTS stock\n"
UNREPEATABLE = REFUND_TABLE.replace("IF NOT EXISTS ", "")
REFUND_FILE = f"lambdas/migrate/migrations/{NEXT}_refund.sql"


MIGRATION = Kind(
    name="migration",
    heading="A table, a column or data",
    steps=(
        Step(
            line=1,
            name="the file",
            edit=create_migration("refund", REFUND_TABLE),
            test="tests/unit/test_migrate.py::test_migration_files_have_not_changed",
            says=f"{NEXT}_refund.sql is missing, but was released: restore it.",
        ),
        Step(
            line=2,
            name="its checksum",
            edit=Edit(
                ("make checksums",),
                append(SUMS, f"{checksum(REFUND_TABLE)}  {NEXT}_refund.sql\n").make,
            ),
            test="tests/unit/test_migrate.py::test_migration_files_have_not_changed",
            says=f"{NEXT}_refund.sql has no checksum: run `make checksums`",
        ),
        Step(
            line=3,
            name="SECURITY.md",
            edit=insert(
                "SECURITY.md",
                "| refunds, with the requester's name | database, table `refund` | forever |\n",
                before="| `Idempotency-Key`, a hash",
            ),
            test="tests/infrastructure/test_documents.py"
            "::test_security_names_every_table_with_a_requester",
            says="add refund to SECURITY.md",
        ),
    ),
    mistakes=(
        Mistake(
            line=1,
            name="the file cannot be repeated",
            edit=all_of(
                replace(REFUND_FILE, "TABLE IF NOT EXISTS", "TABLE"),
                replace(SUMS, checksum(REFUND_TABLE), checksum(UNREPEATABLE)),
            ),
            test="tests/integration/test_migrations.py::test_interrupted_migration_can_be_repeated",
            says="Write the file so that it can be applied twice, as with IF NOT EXISTS.",
        ),
        Mistake(
            line=1,
            name="a column with data is dropped",
            edit=all_of(
                replace(REFUND_FILE, REFUND_TABLE, COLUMN_DROPPED),
                replace(SUMS, checksum(REFUND_TABLE), checksum(COLUMN_DROPPED)),
            ),
            test=f"{UPGRADE}::test_upgrade_keeps_all_data[1.0.0]",
            says="list them in DROPPED in this test",
        ),
        Mistake(
            line=2,
            name="a released file is changed",
            edit=append("lambdas/migrate/migrations/0004_production_order.sql", "-- a remark\n"),
            test="tests/unit/test_migrate.py::test_migration_files_have_not_changed",
            says="0004_production_order.sql was changed after it was released",
        ),
    ),
)

PROCEDURE = Kind(
    name="procedure",
    heading="A stored procedure",
    steps=(
        Step(
            line=1,
            name="the file",
            edit=create(
                "lambdas/migrate/procedures/refund.sql",
                """-- Takes a purchase back. Returns one row: the number of purchases deleted.
CREATE OR REPLACE PROCEDURE refund(
    IN p_purchase_id BIGINT
)
    SQL SECURITY DEFINER
    MODIFIES SQL DATA
BEGIN
    DELETE FROM purchase WHERE purchase_id = p_purchase_id;
    SELECT ROW_COUNT() AS refunded;
END
""",
            ),
            test="tests/unit/test_migrate.py::test_each_granted_procedure_has_a_file",
            says="sales may call refund: create lambdas/migrate/procedures/refund.sql",
        ),
        Step(
            line=2,
            name="the grant",
            edit=insert(
                "lambdas/migrate/database_users.json",
                '      "EXECUTE ON PROCEDURE refund",\n',
                before='      "EXECUTE ON PROCEDURE checkout",\n',
            ),
            test="tests/integration/test_database_users.py::test_users_have_exactly_their_grants",
            says="write the same grants into lambdas/migrate/database_users.json"
            " and tests/support/grants.py",
        ),
        Step(
            line=3,
            name="the grant in the table of the tests",
            edit=insert(
                "tests/support/grants.py",
                '        "EXECUTE ON PROCEDURE refund",\n',
                before='        "SELECT (arrived_at, order_id',
            ),
            test="tests/integration/test_database_users.py::test_users_have_exactly_their_grants",
            says="write the same grants into lambdas/migrate/database_users.json"
            " and tests/support/grants.py",
        ),
        Step(
            line=4,
            name="the method of the store",
            edit=insert(
                "lambdas/common/store.py",
                '''    def refund(self, purchase_id: int) -> None:
        """Take a purchase back."""
        self._query_one("CALL refund(%s)", (purchase_id,), repeatable=True)

''',
                before="    def backlog(self)",
            ),
            test="tests/unit/test_migrate.py::test_each_granted_procedure_is_called_by_the_store",
            says="lambdas/common/store.py does not call refund",
        ),
        Step(
            line=5,
            name="its request on large tables",
            edit=insert(
                GROWTH,
                '    "refund": lambda store: store.refund(0),\n',
                before='    "backlog":',
            ),
            test=f"{GROWTH}::test_each_method_and_procedure_is_among_the_requests",
            says="{'refund'} may read a whole table: add requests to REQUESTS",
        ),
    ),
    mistakes=(
        Mistake(
            line=1,
            name="parameters change",
            edit=insert(
                "lambdas/migrate/procedures/restock.sql",
                "    IN p_reason TEXT,\n",
                before="    IN p_order_id       CHAR(36)",
            ),
            test="tests/unit/test_migrate.py"
            "::test_procedures_keep_the_parameters_of_the_last_release",
            says="changed parameters need a new name",
        ),
        Mistake(
            line=4,
            name="its call has a value too many",
            edit=replace("lambdas/common/store.py", "CALL refund(%s)", "CALL refund(%s, %s)"),
            test="tests/unit/test_migrate.py::test_each_call_has_a_value_per_parameter",
            says="calls refund with 2 values, but refund.sql has 1 parameters",
        ),
        Mistake(
            line=1,
            name="a column of the result is renamed",
            edit=replace("lambdas/migrate/procedures/restock.sql", "AS added,", "AS is_first,"),
            test=f"{UPGRADE}::test_procedures_keep_the_columns_of_the_last_release",
            says="the result lacks {'added'}, which functions of the last release read",
        ),
        Mistake(
            line=1,
            name="the result of a checkout gets a column",
            edit=insert(
                "lambdas/migrate/procedures/checkout.sql",
                "v_price AS price, ",
                before="TRUE AS purchased,",
            ),
            test=f"{UPGRADE}::test_procedures_keep_the_columns_of_the_last_release",
            says="the result has {'price'}, on which functions of the last release fail",
        ),
    ),
)

REFUND_OPERATION = """  /refund:
    post:
      operationId: refund
      summary: Take a purchase back
      description: Nothing can be taken back yet.
      tags: [customers]
      security: []
      responses:
        "429": { $ref: "#/components/responses/TooManyRequests" }
        "500": { $ref: "#/components/responses/UnexpectedError" }
        "503": { $ref: "#/components/responses/Unavailable" }
"""
ROUTE = Kind(
    name="route",
    heading="A route",
    steps=(
        Step(
            line=1,
            name="the stack",
            edit=insert(
                "stacks/service_stack.py",
                '        api.add_routes(path="/refund", methods=[post], integration=sales)\n',
                before='        api.add_routes(path="/order/{order_id}"',
            ),
            test="tests/infrastructure/test_openapi.py::test_document_describes_every_route[dev]",
            says="stacks/service_stack.py lacks a route of docs/openapi.yaml",
        ),
        Step(
            line=2,
            name="the handler",
            edit=all_of(
                insert(
                    "lambdas/sales/handler.py",
                    '''def refund(event: http_api.Event) -> http_api.Response:
    """Return 400: nothing can be taken back yet."""
    return http_api.response(400, {"message": NO_SUCH_PRODUCT})


''',
                    before="ROUTES = {\n",
                ),
                insert(
                    "lambdas/sales/handler.py",
                    '    "POST /refund": refund,\n',
                    before='    "GET /order/{order_id}": ',
                ),
            ),
            test=f"{SERVICE}::test_functions_handle_each_of_their_routes[dev]",
            says="ROUTES in lambdas/sales/handler.py and the routes in stacks/service_stack.py",
        ),
        Step(
            line=3,
            name="openapi.yaml",
            edit=insert(
                "docs/openapi.yaml",
                REFUND_OPERATION + '        "400": { $ref: "#/components/responses/BadRequest" }\n',
                before="  /order/{order_id}:\n",
            ),
            test="tests/infrastructure/test_openapi.py::test_document_describes_every_route[dev]",
            says="docs/openapi.yaml does not describe ['POST /refund']",
        ),
        Step(
            line=3,
            name="the collection",
            edit=insert(
                "docs/postman_collection.json",
                """    {
      "name": "Take a purchase back",
      "request": {"method": "POST", "url": {"host": ["{{baseUrl}}"], "path": ["refund"]}}
    },
""",
                before='    {\n      "name": "Read a production order",\n      "request": {\n',
            ),
            test="tests/infrastructure/test_openapi.py::test_collection_calls_every_operation",
            says="docs/postman_collection.json does not call ['POST /refund']: run `make postman`",
        ),
        Step(
            line=3,
            name="contract.md",
            edit=append("docs/contract.md", "\n| `POST /refund` | takes a purchase back |\n"),
            test="tests/infrastructure/test_documents.py::test_contract_has_every_route[dev]",
            says="write a line per route of stacks/service_stack.py into docs/contract.md",
        ),
        Step(
            line=4,
            name="bad input",
            edit=insert(
                "tests/support/bad_input.py",
                '    ("/refund", "post"): (24, (GenerationMode.POSITIVE,)),\n',
                before='    ("/order/{order_id}", "get"): (24',
            ),
            test="tests/infrastructure/test_openapi.py"
            "::test_bad_inputs_are_sent_to_every_operation",
            says="GENERATED in tests/support/bad_input.py and docs/openapi.yaml differ",
        ),
        Step(
            line=5,
            name="the table of the routes",
            edit=insert(
                SERVICE, '    "POST /refund": "sales",\n', before='    "$default": "sales",\n'
            ),
            test=f"{SERVICE}::test_routes_lead_where_the_contract_says[dev]",
            says="ROUTES of this test",
        ),
        snapshots(6),
    ),
    mistakes=(
        Mistake(
            line=3,
            name="a status that it returns is not documented",
            edit=replace(
                "docs/openapi.yaml",
                REFUND_OPERATION + '        "400": { $ref: "#/components/responses/BadRequest" }\n',
                REFUND_OPERATION,
            ),
            test="tests/integration/test_bad_input.py"
            "::test_bad_input_changes_nothing_and_reveals_nothing[one row]",
            says="400 is not a documented response of POST /refund: add it to docs/openapi.yaml",
        ),
    ),
)

COLOUR_COLUMN = "ALTER TABLE product ADD COLUMN IF NOT EXISTS colour VARCHAR(20) NULL\n"
ATTRIBUTE = Kind(
    name="attribute",
    heading="A product attribute",
    steps=(
        Step(
            line=1,
            name="the column",
            edit=all_of(
                create_migration("colour", COLOUR_COLUMN),
                CHECKSUMS,
            ),
            test="tests/unit/test_migrate.py::test_each_granted_column_is_in_a_migration",
            says="lambdas/migrate/migrations/ does not create the column colour",
        ),
        Step(
            line=2,
            name="the grant",
            edit=insert(
                "lambdas/migrate/database_users.json", "colour, ", before="factory_id, in_catalogue"
            ),
            test="tests/infrastructure/test_openapi.py"
            "::test_product_has_the_columns_that_sales_may_read",
            says="the grant in lambdas/migrate/database_users.json",
        ),
        Step(
            line=2,
            name="the grant in the table of the tests",
            edit=insert("tests/support/grants.py", "colour, ", before="factory_id, in_catalogue"),
            test="tests/integration/test_database_users.py::test_users_have_exactly_their_grants",
            says="write the same grants into lambdas/migrate/database_users.json"
            " and tests/support/grants.py",
        ),
        Step(
            line=3,
            name="the statement of the store",
            edit=insert(
                "lambdas/common/store.py", "'colour', colour, ", before="'factory_id', factory_id)"
            ),
            test="tests/infrastructure/test_openapi.py::test_product_has_the_fields_of_the_store",
            says="lambdas/common/store.py",
        ),
        Step(
            line=4,
            name="the field of the catalogue",
            edit=insert(
                "lambdas/migrate/catalogue.py", "    colour: str\n", before="    price: int\n"
            ),
            test="tests/infrastructure/test_openapi.py::test_catalogue_declares_what_a_product_has",
            says="lambdas/migrate/catalogue.py: Product has no colour",
        ),
        Step(
            line=4,
            name="the rule of the catalogue",
            edit=insert(
                "lambdas/migrate/catalogue.py",
                '    "colour": line(20),\n',
                before='    "price": whole_number',
            ),
            test="tests/unit/test_catalogue.py::test_each_key_has_a_rule[product]",
            says="Product and PRODUCT in lambdas/migrate/catalogue.py differ",
        ),
        Step(
            line=4,
            name="the value in the catalogue",
            edit=insert(
                "lambdas/migrate/catalogue.toml", 'colour = "brown"\n', before="price = 19900"
            ),
            test="tests/unit/test_catalogue.py::test_shop_sells_the_donut_of_the_first_release",
            says="catalogue.toml: product 1 has no colour",
        ),
        Step(
            line=4,
            name="the product's entry in the README",
            edit=insert("README.md", 'colour = "brown"\n', before="price = 2500"),
            test="tests/infrastructure/test_documents.py"
            "::test_product_of_the_readme_can_be_added_to_the_catalogue",
            says="the entry in README.md: catalogue.toml: product 2 has no colour",
        ),
        Step(
            line=4,
            name="the product's response in the README",
            edit=insert("README.md", '"colour": "brown", ', before='"price": 19900'),
            test="tests/infrastructure/test_documents.py::test_readme_has_every_field_of_a_product",
            says="README.md: add colour to the JSON of the product",
        ),
        Step(
            line=4,
            name="the product's entry in the Korean README",
            edit=insert("README.ko.md", 'colour = "brown"\n', before="price = 2500"),
            test=f"{README_KO}::test_code_blocks_are_the_same[Add a product, change a price]",
            says='+colour = "brown"',
        ),
        Step(
            line=4,
            name="the product's response in the Korean README",
            edit=insert("README.ko.md", '"colour": "brown", ', before='"price": 19900'),
            test=f"{README_KO}::test_code_blocks_are_the_same[Donut shop]",
            says="change the code block to that of README.md",
        ),
        Step(
            line=5,
            name="openapi.yaml",
            edit=insert(
                "docs/openapi.yaml",
                "        colour: { type: string }\n",
                before="        stock: { type: integer, minimum: 0, examples: [10] }\n        factory_id",
            ),
            test="tests/infrastructure/test_openapi.py"
            "::test_product_has_the_columns_that_sales_may_read",
            says="Product in docs/openapi.yaml",
        ),
        Step(
            line=5,
            name="the example in openapi.yaml",
            edit=insert(
                "docs/openapi.yaml", "        colour: brown\n", before="        price: 19900\n"
            ),
            test="tests/infrastructure/test_openapi.py"
            "::test_example_of_a_product_is_the_donut_of_the_catalogue",
            says="the example Donut in docs/openapi.yaml",
        ),
        Step(
            line=5,
            name="contract.md",
            edit=insert("docs/contract.md", "`colour`, ", before="`price` (won), `stock`"),
            test="tests/infrastructure/test_documents.py"
            "::test_contract_has_every_field_of_the_api[Product]",
            says="add colour to docs/contract.md",
        ),
    ),
    mistakes=(
        Mistake(
            line=4,
            name="its rule accepts more than the column holds",
            edit=replace(
                "lambdas/migrate/catalogue.py", '"colour": line(20)', '"colour": line(21)'
            ),
            test="tests/integration/test_limits.py"
            "::test_columns_hold_the_longest_texts_of_the_catalogue[product]",
            says="product.colour holds 20 characters, but its rule in lambdas/migrate/catalogue.py"
            " accepts 21: write line(20), or widen the column",
        ),
        Mistake(
            line=4,
            name="a rule accepts a number that the column does not hold",
            edit=replace(
                "lambdas/migrate/catalogue.py",
                '"price": whole_number(0, MAX_NUMBER)',
                '"price": whole_number(0, 2**63)',
            ),
            test="tests/integration/test_limits.py"
            "::test_columns_hold_every_number_of_the_catalogue",
            says="product.price holds 0 to 9,223,372,036,854,775,807, but the rule of price in"
            " lambdas/migrate/catalogue.py accepts 9,223,372,036,854,775,808",
        ),
    ),
)

ENVIRONMENT = Kind(
    name="environment",
    heading="An environment",
    steps=(
        Step(
            line=1,
            name="the settings",
            edit=insert(
                "settings.py",
                """        Settings(
            name="qa",
            database=ExistingDatabase(
                host="database.example",
                port=3306,
                secret_arn="arn:aws:secretsmanager:ap-northeast-2:123456789012:secret:qa-AbCdEf",
                vpc_id="vpc-0123456789abcdef0",
                subnet_ids=("subnet-0123456789abcdef0", "subnet-0123456789abcdef1"),
                security_group_id="sg-0123456789abcdef0",
            ),
            monthly_budget=40,
            allow_http_factory=True,
        ),
""",
                before='        Settings(\n            name="prod",',
            ),
            test="tests/infrastructure/test_makefile.py"
            "::test_makefile_lists_the_environments_of_the_settings",
            says="ACCOUNTS in the Makefile and ENVIRONMENTS in settings.py",
        ),
        Step(
            line=2,
            name="the Makefile",
            edit=insert("Makefile", "qa ", before="prod\nON_AN_ACCOUNT"),
            test="tests/infrastructure/test_makefile.py"
            "::test_makefile_lists_the_environments_of_the_settings",
            says="ACCOUNTS in the Makefile and ENVIRONMENTS in settings.py",
        ),
        Step(
            line=3,
            name="its job",
            edit=all_of(
                replace(DEPLOY, "ENV=dev,staging,prod", "ENV=dev,staging,qa,prod"),
                replace(
                    DEPLOY,
                    "  prod:\n    needs: staging\n",
                    """  qa:
    needs: staging
    permissions:
      contents: read
      id-token: write
    uses: ./.github/workflows/deploy-to.yml
    with:
      environment: qa

  prod:
    needs: qa
""",
                ),
            ),
            test="tests/infrastructure/test_workflows.py"
            "::test_one_assembly_is_deployed_to_each_environment_in_turn",
            says="each environment of settings.py but local is a job in .github/workflows/deploy",
        ),
        Step(
            line=3,
            name="its job's permissions",
            edit=insert("tests/infrastructure/test_workflows.py", '"qa", ', before='"prod")},'),
            test="tests/infrastructure/test_workflows.py"
            "::test_jobs_have_only_their_own_permissions",
            says="PERMISSIONS in this test lists what each job may do",
        ),
        Step(
            line=4,
            name="its cost in the README",
            edit=insert("README.md", "qa 3, ", before="prod 119 USD"),
            test="tests/operations/test_cost.py::test_readme_names_the_cost_of_an_idle_month[qa]",
            says="README.md names the cost of an idle month",
        ),
        Step(
            line=4,
            name="its cost in the Korean README",
            edit=insert("README.ko.md", "qa 3, ", before="prod 119 USD"),
            test=f"{README_KO}::test_pieces_have_the_same_parts[numbers-Deploy it to AWS]",
            says="write 3, as in README.md",
        ),
        Step(
            line=5,
            name="the snapshots",
            edit=SNAPSHOTS,
            test="tests/infrastructure/test_snapshots.py::test_templates_equal_their_snapshot[qa]",
            says="make snapshots",
            is_last=True,
        ),
        Step(
            line=5,
            name="its resources with data",
            edit=ACCEPTANCE,
            test=f"{REPLACEMENTS}::test_no_resource_with_data_is_replaced[qa]",
            says="--accept-replacements",
            is_last=True,
        ),
    ),
    alone=True,
)

KINDS = {
    kind.name: kind
    for kind in (
        FUNCTION,
        SETTING,
        ALARM,
        MIGRATION,
        PROCEDURE,
        ROUTE,
        ATTRIBUTE,
        ENVIRONMENT,
    )
}
