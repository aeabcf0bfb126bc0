"""What a backward owes beside its numbers."""
