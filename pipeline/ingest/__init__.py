"""Accepting: what was asked for becomes messages with ids and places.

`template`, `recipient` and `submission` make bodies of records and distrust bodies from elsewhere;
`schedule` says when one is due, by the `send_window` in its recipient's `time_zone`;
`ids` names messages, `accept` plans what an ingester writes, `doorbell` what it tells an owner.
"""
