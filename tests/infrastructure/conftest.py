"""Start the CDK before a test module imports it.

tests/support/assembly.py starts it on the project's own Node, and without the CDK's validation,
which would make each synthesis take seconds.
"""

import importlib

importlib.import_module("tests.support.assembly")
