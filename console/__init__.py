"""Show the shop on this machine at work: stories of what goes wrong, and how it heals."""
