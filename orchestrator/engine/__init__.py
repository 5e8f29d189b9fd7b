"""Where trials run: worker groups on Ray."""
