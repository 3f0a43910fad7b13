"""The HTTP API, one blueprint per topic."""
