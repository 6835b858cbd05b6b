"""A MariaDB server that behaves as RDS's."""
