"""Rankings in a table: which columns hold them, and where results go beside them."""
