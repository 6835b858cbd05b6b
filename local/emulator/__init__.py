"""The AWS emulator, which runs in a virtual environment of its own: .venv/emulator."""

CONTROL_PATH = "/_functions/"
"""Where the emulator takes the commands of control.py."""
DEBUGGED_LINK = "emulator/tmp/debugged"
"""The code of the function that is debugged, in the directory of the local cloud."""
