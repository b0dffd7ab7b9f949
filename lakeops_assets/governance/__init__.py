"""What holds across tables and models: retention, deletion and reproduction.

Owns no table of its own; it plans over the lakehouse and says what it kept and why.
"""
