"""A stand-in exchange that speaks REST and websocket on loopback."""

from bmacdb.simulated.exchange import SimulatedExchange
from bmacdb.simulated.faults import Fault, parse_fault
from bmacdb.simulated.generate import Bar, generate
from bmacdb.simulated.universe import Universe

__all__ = ["Bar", "Fault", "SimulatedExchange", "Universe", "generate", "parse_fault"]
