"""The recorder: producers, one queue, one consumer."""
