"""How bytes leave the platform: one transport for each kind of provider."""
