"""An initialised app in a file: capturing its state, and building it again elsewhere or later."""
