"""Providers that the stand starts as child processes: `scripted` says what a script says, `local` runs a real model."""
