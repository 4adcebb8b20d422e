"""The echo teacher: loading, embedding studies, their store, the stand-in."""
