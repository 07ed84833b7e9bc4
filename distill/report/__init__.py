"""The report's pictures, page and terminal table."""
