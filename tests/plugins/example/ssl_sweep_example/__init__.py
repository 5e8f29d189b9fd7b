"""Methods for ssl-sweep from another package."""
