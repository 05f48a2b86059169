"""Webhooks: a message as a signed POST of JSON, and what the answer to it means."""
