"""MariaDB servers for the tests alone."""

UNSYNCED = ("--innodb-flush-log-at-trx-commit=2", "--sync-binlog=0")
"""Options of a server that does not wait for the disk, which takes half of a migration's time.

What it has committed survives a killed server, but not a killed machine.
"""
