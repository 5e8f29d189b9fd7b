"""The command line as a module: ``python -m ssl_sweep``."""

from .orchestrator.cli.main import main

if __name__ == "__main__":
    main()
