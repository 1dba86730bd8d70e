"""The far end: what is said, two ways of writing it, one connection, what it asks of us."""
