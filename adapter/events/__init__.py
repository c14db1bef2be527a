"""Events and requests: how a function is called that is a web app, a handler, or both."""
