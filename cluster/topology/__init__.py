"""Where a key lies: tokens, the ring, cores, generations, and keys made for a place.

A key (16 bytes) has a token; the ring gives each token a node; the node's shard count gives each
token one of its cores.  `Generation` joins the three and is what everybody else imports; `forge`
goes the other way, from a core to keys that lie on it.  Pure arithmetic: no I/O, no clock, no
chance, nothing from above.  Batch forms take ten thousand keys at once and are the ones to use.
"""
