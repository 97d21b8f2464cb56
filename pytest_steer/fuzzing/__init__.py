"""Searching for the worst context, shrinking it, remembering what broke a claim. Knows nothing of pytest."""
