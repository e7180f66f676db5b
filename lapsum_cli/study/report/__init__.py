"""What was measured, as tables: printed, kept in a file, drawn as a page."""
