"""The supervisor: starts the children, watches and restarts them, merges their logs, stops them in order."""
