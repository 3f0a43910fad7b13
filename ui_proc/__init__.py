"""The window: a PySide6 child that shows every mark at once. `ui_proc.main:run` is its entry."""
