"""Other people's networks, files and ops."""
