"""Several at one task: comments, participants, context, notes, the plan, feedback."""
