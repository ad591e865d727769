"""The `guerdon` command.

It starts the cluster, applies programs, replays files, shows and verifies.
"""
