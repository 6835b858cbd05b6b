"""A MariaDB server on this machine that behaves like an RDS instance."""
