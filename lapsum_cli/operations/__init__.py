"""The menu: every operation, loss and method that can be asked for. Nothing heavy is imported until one is."""
