"""A MariaDB server on this machine that behaves as one of RDS does."""
