"""From a sweep's results to tables, plots and files. Free of matplotlib and rich until something is drawn."""

from .main_table import render_table
from .terminal import terminal_console, terminal_table
from .write import ReportFiles, write_report

__all__ = ["ReportFiles", "render_table", "terminal_console", "terminal_table", "write_report"]
