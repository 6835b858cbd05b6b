"""Run the shop on this machine: MariaDB in place of RDS, an AWS emulator, a local factory.

Nothing that is deployed imports this package.
"""
