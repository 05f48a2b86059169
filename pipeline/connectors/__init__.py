"""One folder a provider: a codec, pure, from messages to a provider's bytes and back."""
