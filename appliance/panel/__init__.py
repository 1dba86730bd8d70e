"""Face and fingers: lamps and their looks, the button, the boards that both are soldered to."""
