"""Whether a backtest can be believed: look-ahead, overfitting, fragility, and a verdict on all of it."""
