"""Start the CDK as tests.support.assembly does, before a test module imports a stack.

The CDK reads its variables once, when it is imported.
"""

import importlib

importlib.import_module("tests.support.assembly")
