"""The control APIs: thin faces in the dialects that clients already speak, over one set of operations."""
