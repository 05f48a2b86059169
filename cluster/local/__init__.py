"""The embedded store: the whole platform on one machine, with nothing to install.

`data_folder` is the folder with its format and its ring, `platform_lock` says who runs on it.
Each core of the made-up ring has one SQLite file: `schema` opens it, `writer` commits what waits
in groups, `reader` reads beside it, `turnstile` lets processes write in turn.  What the files hold
is told by subject: `idempotency`, `bodies`, `buffer`, `journal`, `timeline`, `cells`; `blocks`
packs many rows in one.  `store` is the port for actors, `queries` the one for the command line,
and `sweep` removes what is past its time.
"""
