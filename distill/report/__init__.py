"""The report's pictures, page and terminal tables, and the card of an export; ``templates`` holds the text of both pages."""
