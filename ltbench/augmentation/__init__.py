"""Rows as a network takes them: plain, or one of many views."""
