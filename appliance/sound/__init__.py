"""Ear and mouth: what was said (`utterance`), what waits to be played (`answer`), and the cards."""
