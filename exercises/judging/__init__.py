"""What all judges share; the table is in exercises/__init__.py."""
