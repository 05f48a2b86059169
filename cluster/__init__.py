"""What is out there: the ring and its arithmetic, the stores, the transports, the configuration."""
