"""paramstore."""
