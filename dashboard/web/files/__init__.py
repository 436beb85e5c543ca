"""Files themselves: routes that serve them, and how their bytes reach slow clients."""
