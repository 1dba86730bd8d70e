"""Face and fingers: the lamp and its looks, the button."""
