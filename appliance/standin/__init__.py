"""A box without a box: the agent, the cards and the panel, for `demo` and for tests."""
