"""The sweep: its file, its trials, the store, the engine, tracking, the report and the command line."""
