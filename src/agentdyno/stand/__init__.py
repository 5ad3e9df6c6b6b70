"""What runs while the stand is up: managed providers, the gateway, a collector."""
