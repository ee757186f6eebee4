"""Margins, and corrections of scores."""
