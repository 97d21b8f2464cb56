"""The ``pytest-steer`` command."""
