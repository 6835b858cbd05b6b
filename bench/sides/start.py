"""Start as an execution environment does and serve one GET: `ours`, or PyMySQL alone: `raw`.

Nothing is imported here before the side's own code, because the imports are what is measured.
"""

import sys

if sys.argv[1] == "ours":
    import json
    import os

    login = json.loads(os.environ["BENCH_LOGIN"])
    os.environ.update(json.loads(os.environ["BENCH_VARIABLES"]))
    from common import iam_login

    sign = iam_login.token

    def password_after_signing(*, user, **others):  # type: ignore[no-untyped-def]  # importing Any would count
        sign(user=user, **others)
        return login["passwords"][user]

    iam_login.token = password_after_signing
    from sales.handler import handler

    event = {"routeKey": "GET /product/{slug}", "pathParameters": {"slug": "donut"}}
    assert handler(event, None)["statusCode"] == 200
else:
    from bench.sides import database

    with database.connect() as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT product_id, sku, name, price, stock, factory_id FROM product WHERE slug = %s",
            ("donut",),
        )
        assert cursor.fetchone()
