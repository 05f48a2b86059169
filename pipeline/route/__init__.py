"""Which way, when, and whether: connectors, retries, permits, suppressions.

In the order in which a lane asks: `suppression` says whether a message may go, `connector_choice`
by which connector, `permits` and `limiter` how many, `provider_class` what an answer proves,
`retry_policy` when the next attempt is due.
"""
