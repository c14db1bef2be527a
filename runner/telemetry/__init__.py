"""Records of invocations and their log lines, kept so that they can be read back."""
