"""What a stranger says: the files of one result, bounded in size and form, and whether they fit each other.

``claim`` and ``gallery`` are the schemas, ``keys`` and ``files`` read and write them, ``consistency`` and
``gallery_check`` find what contradicts itself. Knows files and sheets, and no other result: nothing is scored here.
"""
