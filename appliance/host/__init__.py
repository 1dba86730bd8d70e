"""The machine beneath: service manager, control socket, files, commands, money."""
