"""The machine as a cloud: MariaDB as RDS, an AWS emulator, a stand-in factory. Nothing that is deployed imports it."""
