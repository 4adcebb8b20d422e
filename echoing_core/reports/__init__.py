"""The language of reports: wording, phrases, SCP statements, what echo reports say."""
