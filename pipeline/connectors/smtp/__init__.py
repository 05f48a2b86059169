"""E-mail: submissions become mails, replies become outcomes, bounces become receipts.

`codec` renders what goes out, `replies` judges what the server answers to each command, and
`delivery_report` reads what comes back later.
"""
