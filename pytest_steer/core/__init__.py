"""Plain types that every floor may use. Imports nothing of the project but its own ground."""
