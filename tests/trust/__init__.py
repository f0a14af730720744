"""Trust: what the exchange, the network and the machine do to a recorder, and what its file is worth afterwards."""
