"""The project as somebody has it who installed it: from a wheel, or with README in hand."""
