"""The language of reports: what findings are called, composed into texts, and read back."""
