"""The exchange: its wire format, limits and transports, and a stand-in for it."""
