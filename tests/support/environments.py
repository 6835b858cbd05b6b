"""The environments of the settings by what they have, for tests of that."""

from settings import ENVIRONMENTS, ExistingDatabase, Login, ManagedDatabase, Settings

MANAGED = [
    name for name, each in ENVIRONMENTS.items() if isinstance(each.database, ManagedDatabase)
]
"""The environments whose database and network the data stack creates."""
WITH_IPV6 = [name for name in MANAGED if ENVIRONMENTS[name].endpoint_zones == 0]
WITH_ENDPOINTS = [name for name in MANAGED if name not in WITH_IPV6]
ON_AN_ACCOUNT = [name for name in ENVIRONMENTS if name != "local"]
FIRST = ("local", "dev", "staging", "prod")
"""The environments that the documents describe. Others may be protected as they need."""


def login(settings: Settings) -> Login:
    """Return how the environment's functions log in to their database."""
    return settings.database.login if isinstance(settings.database, ManagedDatabase) else "secret"


def existing_secret(settings: Settings) -> str | None:
    """Return the ARN of the master secret if the database exists already, or else None."""
    database = settings.database
    return database.secret_arn if isinstance(database, ExistingDatabase) else None
