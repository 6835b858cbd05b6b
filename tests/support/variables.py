"""Environment variables of the functions, for tests that run them outside Lambda."""

VARIABLES = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_SESSION_TOKEN": "testing",
    "AWS_REGION": "ap-northeast-2",
    "AWS_DEFAULT_REGION": "ap-northeast-2",
    "DATABASE_HOST": "database.test",
    "DATABASE_PORT": "13306",
    "DATABASE_NAME": "shop",
    "DATABASE_CA_FILE": "common/rds-ca-ap-northeast-2.pem",
    "STOCK_EMPTY_TOPIC_ARN": "unset",
    "MAX_QUANTITY": "1000",
    "PUBLISH_WITHIN": "30",
    "OVERDUE_AFTER": "900",
    "FACTORY_URL": "http://factory.test/api/manufactures",
    "FACTORY_DEADLINE": "13",
    "PUBLIC_URL": "https://shop.test",
    "STOCK_QUEUE_URL": "unset",
    "RETRY_DELAY": "90",
    "MAX_RECEIVES": "5",
}
"""For unit tests."""

OVERDUE_AFTER, MAX_REMINDERS = 900, 3
SIMULATION = {
    "STOCK_EMPTY_TOPIC_ARN": "arn:aws:sns:ap-northeast-2:000000000000:stock_empty_test",
    "MAX_QUANTITY": "1000",
    "PUBLISH_WITHIN": "30",
    "OVERDUE_AFTER": str(OVERDUE_AFTER),
    "MAX_REMINDERS": str(MAX_REMINDERS),
    "IDEMPOTENCY_RETENTION": "864000",
    "FACTORY_URL": "https://factory.test/api/manufactures",
    "FACTORY_DEADLINE": "1",
    "PUBLIC_URL": "https://shop.test",
    "STOCK_QUEUE_URL": "https://sqs.test/stock_queue",
    "RETRY_DELAY": "90",
    "MAX_RECEIVES": "5",
}
"""For tests that run the handlers on a real database."""
