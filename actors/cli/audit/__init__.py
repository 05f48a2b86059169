"""The audit: does what is stored prove what was promised?

Each core is judged by itself, as it stood at one instant (`core_audit`): its journals
(`lane_journal`), every timeline against the lifecycle (`timeline_verdict`), every row of the
buffers, the books, and at last the outbox against the store (`outbox`,
`line_order`).  What is wrong becomes a
`findings.Finding`.
"""
