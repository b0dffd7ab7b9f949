"""Data contracts: which rows a table may hold, and what becomes of those it may not.

Owns the rules of a contract, the quarantine, and what makes a change of a contract breaking.
"""
