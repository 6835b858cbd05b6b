"""Run the shop on this machine: MariaDB in place of RDS, an AWS emulator, a stand-in factory.

Nothing that is deployed imports this package.
"""
