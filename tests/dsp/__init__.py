"""The real echo canceller, in an environment of its own."""
