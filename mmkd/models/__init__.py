"""Distillers, connectors and losses; importing this registers them all."""
