"""What is typed, said and shown: the only room that prints."""
