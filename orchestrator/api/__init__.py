"""What the commands of the command line and the functions of `ssl_sweep` share; the latter are the public names."""
