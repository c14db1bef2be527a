"""Snapshots that the runner keeps by itself: what they depend on, where they lie, when one may be used."""
