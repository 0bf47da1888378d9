"""What must not take this process with it: work on strangers' files, done by a process that may be lost.

`serving` is what runs there, and imports the standard library alone; `process` is the other side of it.
"""
