"""What goes out: notifications, webhooks, people's channels, all by one guarded client."""
