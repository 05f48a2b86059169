"""What is decided: pure, without clock, chance, sockets or Ray.

In the order of the data: `ingest` accepts, `lane` reads, claims, journals and recovers,
`connectors` turns messages into a provider's bytes.  The vocabulary stands beside them.
"""
