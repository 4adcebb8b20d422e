"""Questions in words: prompt sets, and answers in closed form."""
