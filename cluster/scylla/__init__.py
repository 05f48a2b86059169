"""The store on ScyllaDB, bottom up: statements and schema, session and errors, then the verbs.

What goes to the server stands in `statements.cql` and `schema.cql`, and nowhere else.  A session is
opened in the process that uses it and never leaves it.
"""
