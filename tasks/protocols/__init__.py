"""The protocols of others, each led to the verbs that the API has: MCP, A2A, OpenTelemetry."""
