"""Accepting: what was asked for becomes messages with ids and places.

`template`, `recipient` and `submission` make bodies of records and distrust bodies from elsewhere;
`ids` names messages, `accept` plans what an ingester writes, `doorbell` what it tells an owner.
"""
