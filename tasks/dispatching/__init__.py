"""A task goes to an agent that is chosen for it, and its branch comes back by a merge."""
