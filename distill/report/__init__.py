"""The report's pictures, page and terminal table, and the card of an export; ``templates`` holds the text of both pages."""
