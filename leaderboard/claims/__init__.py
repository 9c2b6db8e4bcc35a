"""What a stranger says: the files of one result, bounded in size and form, and whether they fit each other.

Knows files and sheets, and no other result; nothing is scored here.
"""
