"""Forecasts over HTTP: trained experiments held in memory, one page, bounds on what is taken in."""
