"""Run the shop on this machine: MariaDB as RDS, an AWS emulator and a stand-in factory.

Nothing that is deployed imports this package.
"""
