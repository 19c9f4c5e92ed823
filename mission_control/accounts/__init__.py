"""People: how they come in, prove who they are, and what their account is."""
