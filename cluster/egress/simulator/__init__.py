"""A provider to send to where there is none: real servers that take, refuse, throttle, hang, break
off and answer late, and write down durably what they took.  For tests, for the demo, and for a look
at what the platform does when a provider is bad.

A request comes in by one of the servers (`http_provider`, `smtp_provider`), `modes` says how to
treat it, `log` keeps what was seen; `receipts` and `smtp_bounces` tell later what became of it.
"""
