"""Which way, when, and whether: connectors, retries, send windows, permits, suppressions.

In the order in which a lane asks: `suppression` and `send_window` say whether a message may go
now, `connector_choice` by which connector, `permits` and `limiter` how many, `provider_class`
what an answer proves, `retry_policy` when the next attempt is due.
"""
