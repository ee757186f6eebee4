"""Tracks: what is run and what is measured, a folder each, and what several of them share."""
