"""The ``pytest-steer`` command: one module per subcommand, which prints and writes files. Measuring happens in ``studies/``."""
