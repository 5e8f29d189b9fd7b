"""A sweep: its plan, the driver that runs it, its status and results."""
