"""What the recorder publishes on ZeroMQ, for other processes to receive. The format is described in docs/stream.md."""
