"""The far end: what is said (`messages`), how it is written (`v1`), one connection (`session`)."""
