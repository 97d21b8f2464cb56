"""The ``pytest-steer`` command: one module per command, with its options beside it. Words and files live here, measuring does not."""
