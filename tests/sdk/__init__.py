"""Official clients, as they come from PyPI, in conversation with the stand-in agent."""
