"""Alerts: what of the recorder's events a person should hear of, and the messages that tell them."""
