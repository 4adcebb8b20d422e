"""The shipped model, index and recordings: how each of them is made, by one command each."""
