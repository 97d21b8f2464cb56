"""The pytest plugin: thin translation between pytest and the layers below. Importing it loads nothing heavy."""
