"""The four services: one folder each, with the same files in the same order."""
