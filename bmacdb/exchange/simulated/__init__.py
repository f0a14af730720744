"""A stand-in exchange that speaks REST and websocket on loopback."""

from bmacdb.exchange.simulated.exchange import SimulatedExchange
from bmacdb.exchange.simulated.faults import Fault, parse_fault
from bmacdb.exchange.simulated.generate import Bar, generate
from bmacdb.exchange.simulated.universe import Universe

__all__ = ["Bar", "Fault", "SimulatedExchange", "Universe", "generate", "parse_fault"]
