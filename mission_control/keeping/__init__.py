"""The data as a whole: backup, restore, move to another database, archives, how long things are kept."""
