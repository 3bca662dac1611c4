"""How good a selection is: its diversity, how it compares with baselines, what it costs."""
