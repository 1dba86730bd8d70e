"""The machine beneath: service manager, control socket, money."""
