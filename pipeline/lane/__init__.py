"""The heart: how the owner of a lane reads, skips, claims, journals, records and recovers.

`takeover` decides whether a lane may be taken, `recovery` reads back what its journal left open,
`lane` is the owner at work: it claims and journals what its `backlog` has read, and hands what is
journaled to its `projection`.  `entry` is the bytes of one append, `books` the signed counts.  All
take events and return actions; nothing here waits, reads a clock or rolls dice.
"""
