"""The AWS emulator. It runs in a virtual environment of its own, .venv/emulator."""
