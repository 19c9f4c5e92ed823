"""Tasks that come from elsewhere or go there: importers, exports, the folder of an orchestrator, archives."""
