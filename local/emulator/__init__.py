"""The AWS emulator, which runs in a virtual environment of its own: .venv/emulator."""
