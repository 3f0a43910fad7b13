"""What the channel costs, beside the alternatives: `python -m tests.bench`, `--quick`, `--only NAME`."""
