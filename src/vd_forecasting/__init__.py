"""Forecast vehicle-detector traffic with LSTM and xLSTM, and say which is better."""

__version__ = "0.1.0"
