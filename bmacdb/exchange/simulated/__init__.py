"""A stand-in exchange that speaks REST and websocket on loopback."""

