"""Which mistake it is."""
