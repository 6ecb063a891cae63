"""Emulated devices: they speak their protocols' bytes over pseudo-terminals, with a simulated robot behind them."""
