"""The description of the HTTP API (OpenAPI 3.1). Imported when it is first asked for: no start pays for it."""
