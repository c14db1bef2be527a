"""One call of a function: synchronous through the gateway, asynchronous through a durable queue."""
